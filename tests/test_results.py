import dataclasses
import os
import zipfile

import naive
import numpy as np
import pytest

from spectra import Extremum, Pseudospectrum, Record, gallery, results


@pytest.fixture
def extremum():
    return Extremum(
        value=2.5, lower=2.25, upper=2.75, points=np.array([1 + 2j, 1 - 2j]), residual=1e-9, steps=4
    )


@pytest.fixture
def spectrum():
    A, x, y = gallery.grcar(6), np.linspace(-1, 3, 5), np.linspace(-3, 3, 4)
    sigma = naive.sigma_min_grid(A, x, y)
    return Pseudospectrum(
        x=x,
        y=y,
        sigma_min=sigma,
        lower=sigma * 0.9,
        upper=sigma * 1.1,
        computed=np.ones((4, 5), dtype=bool),
        eigenvalues=naive.eigenvalues(A),
        epsilons=np.array([0.01, 0.1]),
        floor=1e-15,
        storage_floor=0.0,
        rtol=1e-6,
        delta=1e-12,
        iterations=77,
    )


@pytest.fixture(params=["extremum", "spectrum"])
def record(request):
    return request.getfixturevalue(request.param)


def same(one: object, other: object) -> bool:
    """Same type, dtype and value."""
    return type(one) is type(other) and (
        np.array_equal(one, other) and one.dtype == other.dtype
        if isinstance(one, np.ndarray)
        else one == other
    )


def test_save_and_load_give_the_same_record(record, tmp_path):
    path = tmp_path / "result.npz"
    record.save(path)
    for cls in (type(record), Record):
        found = cls.load(str(path))
        assert type(found) is type(record)
        for field in dataclasses.fields(record):
            assert same(getattr(found, field.name), getattr(record, field.name)), field.name
    assert os.listdir(tmp_path) == ["result.npz"]


def test_saving_replaces_what_was_there_and_has_the_usual_permissions(extremum, tmp_path):
    path, plain = tmp_path / "result.npz", tmp_path / "plain"
    path.write_text("old")
    plain.write_text("")
    extremum.save(path)
    extremum.save(path)
    assert Extremum.load(path).value == 2.5
    path.unlink()
    extremum.save(path)
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_failed_save_leaves_the_old_file_and_nothing_else(extremum, tmp_path, monkeypatch):
    path = tmp_path / "result.npz"
    extremum.save(path)
    before = path.read_bytes()

    def fail(file, **_):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(results.np, "savez_compressed", fail)
    with pytest.raises(KeyboardInterrupt):
        extremum.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["result.npz"]


def test_saving_where_it_cannot_be_written_says_so(extremum, tmp_path):
    with pytest.raises(FileNotFoundError):
        extremum.save(tmp_path / "absent" / "result.npz")
    with pytest.raises(OSError, match="directory"):
        extremum.save(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
        Extremum.load(tmp_path / "absent.npz")


def test_a_record_of_another_class_is_refused_by_name(extremum, tmp_path):
    extremum.save(tmp_path / "result.npz")
    with pytest.raises(
        ValueError, match=r"result\.npz holds a record Extremum, no Pseudospectrum; use Extremum\.load"
    ):
        Pseudospectrum.load(tmp_path / "result.npz")


DAMAGED = r"is no saved result of this package, or it is damaged; save it again"


def test_any_other_file_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(3))
    np.savez(tmp_path / "b.npz", a=np.ones(3))
    np.savez(tmp_path / "c.npz", record="Unknown", a=np.ones(3))
    np.savez(tmp_path / "d.npz", record="Extremum", value=np.array(1.0))
    np.save(tmp_path / "e.npy", np.array([{"code": "runs"}]), allow_pickle=True)
    np.savez(tmp_path / "f.npz", record=np.array(object()))
    (tmp_path / "g.npz").write_text("text")
    (tmp_path / "h.npz").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "i.npz", "w") as archive:
        archive.writestr("record", "Extremum")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(ValueError, match=rf"{path.name} {DAMAGED}"):
            Record.load(path)


def test_a_truncated_file_is_refused_at_every_length(extremum, tmp_path):
    path = tmp_path / "result.npz"
    extremum.save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=DAMAGED):
            Extremum.load(path)


def test_a_flipped_byte_is_refused_or_harmless(extremum, tmp_path):
    path, rng, refused = tmp_path / "result.npz", np.random.default_rng(0), 0
    extremum.save(path)
    whole = path.read_bytes()
    for _ in range(400):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] ^= rng.integers(1, 256)
        path.write_bytes(changed)
        try:
            value = Extremum.load(path).value
        except ValueError as error:  # no other kind of exception gets out
            value, refused = extremum.value, refused + str(error).endswith(DAMAGED)
        assert value == extremum.value
    assert refused > 200


def test_a_file_from_before_a_field_with_a_default_loads(extremum, tmp_path):
    fields = {
        "value": 2.5,
        "lower": 2.25,
        "upper": 2.75,
        "points": np.array([1j]),
        "residual": 0.0,
        "steps": 3,
    }
    np.savez(tmp_path / "old.npz", record="Extremum", **fields)
    assert Extremum.load(tmp_path / "old.npz").method == ""
    dataclasses.replace(extremum, method="samples").save(tmp_path / "new.npz")
    assert Extremum.load(tmp_path / "new.npz").method == "samples"


def test_records_are_frozen_and_compare_by_identity(record):
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.lower = 0.0
    assert record == record
    assert record != dataclasses.replace(record)
    assert not hasattr(record, "__dict__")


def test_an_extremum_is_a_number_with_a_certificate(extremum):
    assert float(extremum) == extremum.value == 2.5
    assert str(extremum) == "2.5 in [2.25, 2.75], residual 1e-09"
    assert repr(extremum) == "Extremum(2.5 in [2.25, 2.75], residual 1e-09)"


def test_a_pseudospectrum_prints_as_one_line(spectrum):
    assert repr(spectrum) == str(spectrum)
    assert "\n" not in str(spectrum)
    assert str(spectrum).startswith("Pseudospectrum on a 4 x 5 grid, 6 eigenvalues, sigma_min from ")
    assert str(spectrum).endswith("floor 1e-15, 100% computed")


def test_a_notebook_shows_a_table(record):
    html = record._repr_html_()
    for field in dataclasses.fields(record):
        assert f"<th>{field.name}</th>" in html
    assert html.startswith("<p>")
    assert html.endswith("</table>")


def test_the_table_says_what_large_arrays_are_and_escapes(spectrum):
    assert "<td>array (4, 5) float64</td>" in spectrum._repr_html_()
    assert results._html_table("a < b", [("<i>", "&")]) == (
        "<p>a &lt; b</p><table><tr><th>&lt;i&gt;</th><td>&amp;</td></tr></table>"
    )


def test_a_device_or_pipe_is_not_replaced(extremum, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="no regular file"):
        extremum.save(pipe)
    assert list(tmp_path.iterdir()) == [pipe]
    assert pipe.is_fifo()


def test_a_link_stays_a_link(extremum, tmp_path):
    link, file = tmp_path / "link.npz", tmp_path / "file.npz"
    link.symlink_to(file)
    extremum.save(link)
    assert link.is_symlink()
    assert Extremum.load(file).value == extremum.value


@pytest.mark.parametrize(
    "damage",
    [
        {"value": "abc"},
        {"value": 1j},
        {"value": np.ones(3)},
        {"steps": 1.5},
        {"points": "x"},
        {"lower": True},
    ],
)
def test_fields_of_another_kind_are_refused(damage, extremum, tmp_path):
    extremum.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        np.savez(tmp_path / "b.npz", **{**archive, **damage})
    with pytest.raises(ValueError, match="no saved result"):
        Extremum.load(tmp_path / "b.npz")


@pytest.mark.parametrize(
    "damage",
    [
        {"sigma_min": np.ones(3)},
        {"lower": np.ones((1, 1))},
        {"x": np.ones((2, 2))},
        {"computed": np.ones((2, 3))},
        {"eigenvalues": np.array(["a"])},
    ],
)
def test_grids_that_do_not_fit_are_refused(damage, spectrum, tmp_path):
    spectrum.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        np.savez(tmp_path / "b.npz", **{**archive, **damage})
    with pytest.raises(ValueError, match="no saved result"):
        Pseudospectrum.load(tmp_path / "b.npz")
