"""What the documents promise: the tables of the README and the gallery keep up with the code."""

import dataclasses
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
import pytest

import rnn
import spectra
from spectra.projection import projected_pencil
from spectra.rectangular import rectangular_pencil

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
GALLERY = (ROOT / "docs" / "gallery.md").read_text("utf-8")
FORMATS = (ROOT / "docs" / "formats.md").read_text("utf-8")
PACKAGES = {"spectra": spectra, "rnn": rnn}
FUNCTION = re.compile(r"`(spectra|rnn)\.(\w+)`")


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


ROWS = [row for row in cells(README) if FUNCTION.search("".join(row))]


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_of_docs", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return loaded("gallery")


@pytest.fixture(scope="module")
def formats() -> ModuleType:
    return loaded("formats")


def named_in_tables() -> set[tuple[str, str]]:
    return {(package, name) for row in ROWS for package, name in FUNCTION.findall(row[1])}


def test_every_public_function_has_a_row() -> None:
    public = {name for name in spectra.__all__ if inspect.isfunction(getattr(spectra, name))}
    assert len(public) > 25
    prose = {name for package, name in FUNCTION.findall(README) if package == "spectra"}
    assert public - {name for package, name in named_in_tables() if package == "spectra"} <= {"schur_form"}
    assert public <= prose


def test_every_function_of_the_tables_exists() -> None:
    for package, name in named_in_tables():
        assert name in PACKAGES[package].__all__, f"{package}.{name}"


def test_every_option_of_the_tables_is_a_keyword() -> None:
    found = 0
    for row in ROWS:
        ((package, name), *_) = FUNCTION.findall(row[1])
        for option in re.findall(r"`(\w+)=", row[1]):
            found += 1
            assert option in inspect.signature(getattr(PACKAGES[package], name)).parameters
    assert found == 2


def test_sources_are_those_of_the_docstrings() -> None:
    rooms = {"pseudospectrum": (rectangular_pencil, projected_pencil)}  # whose rows lead there
    checked = 0
    for row in ROWS:
        ((package, name), *_) = FUNCTION.findall(row[1])
        if package != "spectra" or not row[-1]:
            continue
        text = "".join(map(str, (f.__doc__ for f in (getattr(spectra, name), *rooms.get(name, ())))))
        for source in row[-1].split(";"):
            words = source.split()
            checked += 1
            assert re.search(rf"\b{words[0].strip(',')}\b", text), f"{name} does not cite {source}"
            assert words[-1] in text, f"{name} does not cite {source}"
    assert checked > 15


def test_the_gallery_shows_all_figures_and_no_others(script: ModuleType) -> None:
    shown = re.findall(r"!\[[^\]]+\]\(gallery/(\w+)\.png\)", GALLERY)
    assert shown == list(script.FIGURES)
    files = {path.stem: path.stat().st_size for path in (ROOT / "docs" / "gallery").iterdir()}
    assert set(files) == set(shown)
    assert max(files.values()) < 150_000


def test_the_script_draws_what_it_is_asked_for(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, open_before = tmp_path / "new" / "folder", plt.get_fignums()
    script.main(["--out", str(out), "--only", "unit_circle,powers", "--points", "12"])
    assert {path.name for path in out.iterdir()} == {"unit_circle.png", "powers.png"}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0].strip() for line in lines] == ["1 of 2", "2 of 2"]
    assert plt.get_fignums() == open_before
    first = (out / "powers.png").read_bytes()
    script.main(["--out", str(out), "--only", "powers"])
    assert (out / "powers.png").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "portrait,landscape"], "--only names landscape; expected some of portrait"),
        (["--points", "11"], "--points is 11; expected 12 or more"),
    ],
)
def test_the_script_refuses(
    arguments: list[str],
    message: str,
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        script.main(["--out", str(tmp_path / "out"), *arguments])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_script_draws_everything(script: ModuleType, tmp_path: Path) -> None:
    script.main(["--out", str(tmp_path), "--points", "12"])
    assert {path.stem for path in tmp_path.iterdir()} == set(script.FIGURES)


@pytest.mark.slow
def test_the_calls_of_the_gallery_run(script: ModuleType) -> None:
    blocks = re.findall(r"```python\n(.*?)```", GALLERY, re.DOTALL)
    assert len(blocks) == 1 + len(script.FIGURES)
    names = {name: value for name, value in vars(script).items() if inspect.isfunction(value)}
    for block in blocks:
        exec(block, names)  # the document is ours
        plt.close("all")
    # and the sentences below them
    recurrent = names["recurrent"]()
    assert round(spectra.distance_to_instability(recurrent, dynamics="discrete").value, 4) == 0.0412
    assert np.isclose(spectra.spectral_radius(recurrent), 0.9)
    A, z = spectra.gallery.grcar(100), 2 + 1.5j
    assert round(spectra.pseudospectral_radius(A, 1e-6).value, 2) == 2.69
    assert round(float(abs(spectra.schur_form(A).eigenvalues - z).min()), 2) == 0.49
    assert f"{spectra.pseudomode(A, z).sigma:.1e}" == "3.1e-05"


def test_the_table_of_formats_has_the_rows_of_its_script(formats: ModuleType) -> None:
    _, _, *rows = cells(FORMATS)
    assert [row[0] for row in rows] == list(formats.ROWS)
    for title, made, found, _, check in rows:
        assert made, title
        assert re.fullmatch(r"(\d+ \w+(, |$))+", found), title
        assert re.match(r"(names and values|values, not names and roles): (bit for bit|to 1e-06)", check), (
            title
        )


def test_the_script_of_formats_sees_what_differs(formats: ModuleType, tmp_path: Path) -> None:
    example = formats.npy(tmp_path)
    (W,) = example.expected.values()
    found = rnn.named_matrices(example.source)
    for expected, verdict in (
        ({"W": W}, "names and values: bit for bit equal to the array"),
        ({"W": W * (1 + 1e-7)}, "names and values: to 1e-06 of the norm equal to the array"),
        ({"W": W * (1 + 1e-5)}, "**fails**: differs from the array by 1.0e-05 of the norm"),
        ({"W": W[:-1]}, "**fails**: W has shape (6, 6), expected (5, 6)"),
        ({"V": W}, "**fails**: missing V; not put in W"),
    ):
        assert formats.checked(found, dataclasses.replace(example, expected=expected)) == verdict
    unnamed = dataclasses.replace(example, expected={"V": W}, named=False)
    assert formats.checked(found, unnamed).startswith("values, not names and roles: bit for bit")
    more = dataclasses.replace(unnamed, expected={"V": W, "W": W})
    assert formats.checked(found, more) == "**fails**: 1 matrices, where 2 were put in"


@pytest.mark.slow
def test_the_script_of_formats_writes_the_table(tmp_path: Path) -> None:
    out = tmp_path / "formats.md"
    run = [sys.executable, ROOT / "docs" / "formats.py", "--out", out]
    subprocess.run(run, cwd=ROOT, check=True, capture_output=True)
    assert cells(out.read_text("utf-8")) == cells(FORMATS)
