import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spectra
from rnn.measuring.measured_matrix import MeasuredMatrix
from rnn.measuring.measures import BASELINES, STUDIED, column_label, matrix_measures

SEEDS = st.integers(0, 2**32 - 1)


def random_matrix(seed, n=6):
    return np.random.default_rng(seed).standard_normal((n, n))


def test_every_measure_equals_its_function():
    A = random_matrix(0)
    found = matrix_measures(A, epsilon=0.2)
    assert list(found) == [measure.name for measure in STUDIED]
    assert set(BASELINES) <= set(found)
    radius = spectra.pseudospectral_radius(A, 0.2).value
    assert found["pseudospectral_radius"] == radius
    assert found["pseudospectral_abscissa"] == spectra.pseudospectral_abscissa(A, 0.2).value
    assert found["pseudospectral_sensitivity"] == pytest.approx((radius - spectra.spectral_radius(A)) / 0.2)
    assert found["henrici_departure_relative"] == spectra.henrici_departure(A, relative=True)
    plain = (
        "spectral_radius",
        "spectral_abscissa",
        "spectral_norm",
        "stable_rank",
        "henrici_departure",
        "commutator_norm",
        "eigenvector_condition_number",
        "numerical_abscissa",
    )
    assert [found[name] for name in plain] == [getattr(spectra, name)(A) for name in plain]


def test_closed_form_of_a_jordan_block():
    # The pseudospectra of [[a, k], [0, a]] are discs about a: |z - a|^2 = epsilon (epsilon + k).
    found = matrix_measures([[0.5, 1.0], [0.0, 0.5]], epsilon=0.1)
    assert found["pseudospectral_radius"] == pytest.approx(0.5 + np.sqrt(0.1 * 1.1), rel=1e-9)
    assert found["eigenvector_condition_number"] == np.inf
    assert found["henrici_departure"] == pytest.approx(1.0)


def test_rectangular_matrices_have_norms_only():
    found = matrix_measures(np.ones((3, 5)))
    assert found == {"spectral_norm": pytest.approx(np.sqrt(15)), "stable_rank": pytest.approx(1.0)}
    assert {measure.name for measure in STUDIED if not measure.square} == set(found)


@given(SEEDS)
def test_measures_do_not_change_under_rotation(seed):
    A = random_matrix(seed, 5)
    Q = np.linalg.qr(random_matrix(seed + 1, 5))[0]
    plain, turned = matrix_measures(A), matrix_measures(Q @ A @ Q.T)
    for name, value in plain.items():
        assert turned[name] == pytest.approx(value, rel=1e-6, abs=1e-9)


@given(SEEDS)
def test_normal_matrices_have_sensitivity_one(seed):
    A = random_matrix(seed, 5)
    found = matrix_measures(A + A.T)
    assert found["pseudospectral_sensitivity"] == pytest.approx(1.0, rel=1e-6)
    assert found["henrici_departure"] == pytest.approx(0.0, abs=1e-10 * found["spectral_norm"])


def test_labels():
    assert column_label("spectral_norm") == "spectral norm"
    assert column_label("jacobian_stable_rank") == "Jacobian: stable rank"
    assert column_label("f_spectral_norm") == "gate f: spectral norm"
    assert column_label("success_fgsm_l2_0.4") == "success rate, FGSM, L2 0.4"
    assert column_label("clean_accuracy") == "clean_accuracy"
    labels = [measure.label for measure in STUDIED]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("A", "epsilon", "message"),
    [
        (np.zeros(3), 0.1, "A has shape"),
        ([[np.nan]], 0.1, "NaN"),
        (np.eye(2), 0.0, "epsilon is 0.0"),
        (np.eye(2), -1.0, "epsilon is -1.0"),
    ],
)
def test_refusals(A, epsilon, message):
    with pytest.raises(ValueError, match=message):
        matrix_measures(A, epsilon=epsilon)


def test_schur_forms_of_two_matrices_are_computed_at_the_same_time(monkeypatch):
    meeting = threading.Barrier(2, timeout=20)

    def meet(matrix):
        meeting.wait()  # breaks if one waits for the other to end
        return spectra.schur_form(matrix)

    monkeypatch.setattr("rnn.measuring.measured_matrix.schur_form", meet)
    both = [MeasuredMatrix(random_matrix(seed), epsilon=0.1, dynamics="discrete") for seed in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        forms = list(pool.map(lambda one: one.form, both))
    assert [form.n for form in forms] == [6, 6]
    assert both[0].form is forms[0]
