"""What the documents promise: the tables of the README and the gallery keep up with the code."""

import importlib.util
import inspect
import re
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
PACKAGES = {"spectra": spectra, "rnn": rnn}
FUNCTION = re.compile(r"`(spectra|rnn)\.(\w+)`")

ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in README.splitlines()
    if line.startswith("|") and FUNCTION.search(line)
]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery_of_docs", ROOT / "docs" / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
