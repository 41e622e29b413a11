"""All measures at once: each is the function of its name."""

import dataclasses

import numpy as np
import pytest

import spectra
from spectra import Extremum, Measures, gallery, measures, schur_form


@pytest.mark.parametrize("dynamics", ["discrete", "continuous"])
def test_each_value_is_that_of_its_function(dynamics):
    A = 0.3 * gallery.grcar(12) - np.eye(12)
    A /= 1.5 * spectra.spectral_radius(A)
    found = measures(A, dynamics=dynamics, epsilon=0.05)
    assert len(found) == len(list(found)) == 16
    for i, name in enumerate(found):
        if name in {"henrici_departure_relative", "largest_eigenvalue_condition_number"}:
            continue
        function, options = getattr(spectra, name), {}
        if name in {"distance_to_instability", "kreiss_constant"}:
            options = {"dynamics": dynamics}
        alone = function(A, 0.05) if name.startswith("pseudospectral") else function(A, **options)
        assert found[name] == float(alone)
        expected = (alone.lower, alone.upper) if isinstance(alone, Extremum) else (alone, alone)
        assert (found.lower[i], found.upper[i]) == expected
    assert found["henrici_departure_relative"] == spectra.henrici_departure(A, relative=True)
    assert found["largest_eigenvalue_condition_number"] == spectra.eigenvalue_condition_numbers(A).max()
    assert np.all(found.lower <= found.values)
    assert np.all(found.values <= found.upper)


def test_a_schur_form_serves_and_progress_is_told():
    seen = []
    form = schur_form(gallery.jordan_block(4) / 2)
    note = lambda done, total: seen.append((done, total))  # noqa: E731
    found = measures(form, dynamics="discrete", progress=note)
    assert seen == [(k, 16) for k in range(1, 17)]
    assert found["eigenvector_condition_number"] == np.inf
    assert str(found).startswith("16 measures of a matrix of order 4, discrete, in ")


def test_a_table_in_notebooks_and_a_file(tmp_path):
    found = measures(gallery.grcar(8) / 4, dynamics="discrete")
    assert "<th>kreiss_constant</th>" in found._repr_html_()
    assert " in [" in found._repr_html_()
    found.save(tmp_path / "m.npz")
    again = Measures.load(tmp_path / "m.npz")
    assert np.array_equal(again.values, found.values)
    assert again["spectral_norm"] == found["spectral_norm"]


def test_a_file_with_numbers_missing_is_damaged(tmp_path):
    found = measures(np.eye(2) / 2, dynamics="discrete")
    for field in ("names", "values", "lower", "upper", "seconds"):
        dataclasses.replace(found, **{field: getattr(found, field)[1:]}).save(tmp_path / "damaged.npz")
        with pytest.raises(ValueError, match="damaged"):
            Measures.load(tmp_path / "damaged.npz")


def test_refusals():
    with pytest.raises(ValueError, match="dynamics"):
        measures(np.eye(2), dynamics="chaotic")
    with pytest.raises(ValueError, match="epsilon"):
        measures(np.eye(2), dynamics="discrete", epsilon=0)
    with pytest.raises(KeyError, match="'rho' was not measured; known are spectral_radius"):
        measures(np.eye(2), dynamics="discrete")["rho"]
