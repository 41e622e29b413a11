"""What is shipped: one version, both packages with their data files, a command that starts without torch."""

import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import pytest

import spectra
from rnn.extra import PACKAGES as EXTRA

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that no build folder is left in the tree."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "spectra", "rnn"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    run = subprocess.run(
        [sys.executable, "-c", build, str(target)], cwd=source, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    (built,) = target.glob("*.whl")
    return built


def test_the_version_stands_in_one_place() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", spectra.__version__)
    assert metadata.version("spectra-rnn") == spectra.__version__
    pattern = re.compile(rf"(?<![\d.]){re.escape(spectra.__version__)}(?![\d.])")
    sources = [path for package in ("spectra", "rnn") for path in (ROOT / package).rglob("*.py")]
    stated = [
        path.name for path in [*sources, ROOT / "pyproject.toml"] if pattern.search(path.read_text("utf-8"))
    ]
    assert stated == ["__init__.py"]
    assert f"\nversion: {spectra.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_every_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pinned = {re.sub(r"[-_.]+", "-", name).lower() for name in pins}
    for requirement in metadata.requires("spectra-rnn") or []:
        name = re.split(r"[^A-Za-z0-9._-]", requirement)[0]
        assert re.sub(r"[-_.]+", "-", name).lower() in pinned, f"{name} is not pinned in constraints.txt"
    assert pins["torch"] == "2.13.0"


def test_the_wheel_holds_both_packages_and_their_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    data = {".py", ".j2", ".toml"}
    for package in ("spectra", "rnn"):
        files = [path for path in (ROOT / package).rglob("*") if path.is_file() and path.suffix in data]
        assert files
        assert {path.relative_to(ROOT).as_posix() for path in files} <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_the_wheel_keeps_torch_in_the_extra(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    header = Parser().parsestr(archive.read(name).decode())
    required = header.get_all("Requires-Dist") or []
    assert header["Name"] == "spectra-rnn"
    assert header["Requires-Python"] == ">=3.11"
    for package in ("torch", "scikit-learn", "pandas", "jinja2"):
        (line,) = [line for line in required if re.match(rf"{package}[<>=]", line)]
        assert line.endswith('extra == "rnn"')
    (points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert "spectra = rnn.cli:main" in archive.read(points).decode()


def test_matrices_and_the_command_line_need_no_extra(wheel: Path, tmp_path: Path) -> None:
    """From the unpacked wheel, with the packages of the extra made unimportable."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    script = (
        f"import sys\nsys.modules.update(dict.fromkeys({EXTRA!r}))\n"
        "import spectra, rnn, rnn.cli\n"
        "assert spectra.__file__.startswith(sys.argv.pop(1)), spectra.__file__\n"
        "import spectra.pseudospectra, spectra.plots, rnn.figures, rnn.files\n"
        "assert spectra.henrici_departure([[0.0, 1.0], [0.0, 0.0]]) == 1.0\n"
        "rnn.cli.main()"
    )
    command = [sys.executable, "-c", script, str(tmp_path), "--version"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"spectra-rnn {spectra.__version__}\n", "")


def test_the_readme_names_functions_that_exist() -> None:
    import rnn

    text = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"`(spectra|rnn)\.([A-Za-z_]+)`", text))
    assert len(named) > 15
    for package, name in named:
        assert hasattr({"spectra": spectra, "rnn": rnn}[package], name), f"{package}.{name}"
