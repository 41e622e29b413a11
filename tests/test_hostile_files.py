"""Hostile files run nothing and say what is in them; damaged ones end in one clear line, or are read."""

import os
import pickle
import re
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnn.reading.archives import read_torch_archive
from rnn.reading.tensors import NotUnderstoodError
from rnn.weights import named_matrices
from spectra.errors import UnsupportedModelError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pt"


class Calls:
    """Asks for a call when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class SetsState:
    """Writes a file when it is unpickled by Python."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __setstate__(self, state: dict[str, Any]) -> None:
        Path(state["path"]).write_text("ran", encoding="utf-8")


class Hidden(nn.Module):
    """A network with something else among its attributes."""

    def __init__(self, extra: Any) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.extra = extra


ATTACKS: dict[str, Callable[[Path], Any]] = {
    "system": lambda p: Calls(os.system, f"touch {p}"),
    "eval": lambda p: Calls(eval, f"open({str(p)!r}, 'w')"),
    "exec": lambda p: Calls(exec, f"open({str(p)!r}, 'w')"),
    "Popen": lambda p: Calls(subprocess.Popen, ["touch", str(p)]),
    "load": lambda p: Calls(torch.load, str(p)),
    "_serialization.load": lambda p: Calls(torch.jit.load, str(p)),
    "SetsState": lambda p: SetsState(str(p)),
}


@pytest.mark.parametrize("form", ["zip", "legacy", "module", "legacy module", "pickle"])
@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_files_run_nothing_and_say_what_is_in_them(name: str, form: str, path: Path) -> None:
    target = path.with_name("written")
    bad = ATTACKS[name](target)
    content: Any = Hidden(bad) if "module" in form else {"bad": bad, "weight": torch.eye(2)}
    if form == "pickle":
        path.write_bytes(pickle.dumps({"bad": bad, "weight": np.eye(2)}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization="legacy" not in form)
    table = read_torch_archive(path)
    assert not target.exists()
    (weight,) = (stored for key, stored in table.entries.items() if key.endswith("weight"))
    assert weight.read().isfinite().all()
    if name == "SetsState" and "module" in form:
        return  # an attribute of a module, of which only the tensors are read
    (line,) = [f"{key}: {reason}" for key, reason in table.unrecognised]
    assert re.search(rf"\b{re.escape(name)}\b", line)


def test_a_hostile_file_without_tensors_is_refused_in_one_line(path: Path) -> None:
    torch.save(Calls(os.system, f"touch {path}.x"), path)
    with pytest.raises(
        UnsupportedModelError, match=r"model\.pt holds no tensors .*made by a call of \w+\.system"
    ):
        read_torch_archive(path)
    torch.save({str(n): Calls(os.system, "x") for n in range(9)}, path)
    with pytest.raises(UnsupportedModelError, match="; and 6 more"):
        named_matrices(path)


def test_arrays_of_objects_stay_closed(path: Path) -> None:
    objects = np.array([Calls(os.system, f"touch {path}.x"), None], dtype=object)
    torch.save({"bad": objects, "weight": torch.eye(2)}, path)
    table = read_torch_archive(path)
    assert table.unrecognised[0] == ("bad", "an array of dtype O8, not of numbers")
    assert table.unrecognised[1][1] == "a call that the file asks for; it is not run"
    assert not Path(f"{path}.x").exists()


def test_nothing_is_imported(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    (tmp_path / "a.pkl").write_bytes(b"}(S'x'\nctrap\nThing\n)\x81S'w'\nctrap\nmake\n)Ru.")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from rnn.reading.archives import read_torch_archive\n"
        "try: read_torch_archive(sys.argv[1] + '/a.pkl')\n"
        "except TypeError as error: print(error)\n"
        "assert 'trap' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert "trap.make" in run.stdout


def whole_files() -> Iterator[tuple[str, bytes]]:
    model = nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 2))
    script = torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3))
    for name, write in {
        "zip": lambda file: torch.save({"model": model.state_dict(), "epoch": 3}, file),
        "legacy": lambda file: torch.save(model.state_dict(), file, _use_new_zipfile_serialization=False),
        "module": lambda file: torch.save(model, file),
        "script": lambda file: torch.jit.save(script, file),
        "pickle": lambda file: pickle.dump({k: v.numpy() for k, v in model.state_dict().items()}, file),
    }.items():
        with tempfile.TemporaryFile() as file:
            write(file)
            file.seek(0)
            yield name, file.read()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated
        return dict(whole_files())


FORMS = ["zip", "legacy", "module", "script", "pickle"]


def outcome(path: Path) -> str:
    """What becomes of a file: the message of a refusal, or that of a tensor, or nothing."""
    try:
        table = read_torch_archive(path)
    except (ValueError, UnsupportedModelError) as error:
        return str(error)
    messages = []
    for stored in table.entries.values():
        try:
            assert tuple(stored.read().shape) == stored.shape
        except (ValueError, NotUnderstoodError) as error:
            messages.append(str(error))
    return messages[0] if messages else ""


@pytest.mark.parametrize("form", FORMS)
def test_files_cut_off_anywhere_are_refused(form: str, files: dict[str, bytes], path: Path) -> None:
    whole = files[form]
    path.write_bytes(whole)
    assert outcome(path) == ""
    lengths = {0, 1, 2, 3, 4, 5, len(whole) - 1, *np.random.default_rng(0).integers(len(whole), size=150)}
    for length in lengths:
        path.write_bytes(whole[:length])
        message = outcome(path)
        assert message, length
        assert "\n" not in message


@pytest.mark.parametrize("form", FORMS)
def test_files_with_one_wrong_byte_are_refused_or_read(
    form: str, files: dict[str, bytes], path: Path
) -> None:
    random, whole, refused = np.random.default_rng(0), files[form], 0
    for _ in range(400):
        content = bytearray(whole)
        content[random.integers(len(whole))] ^= 1 << random.integers(8)
        path.write_bytes(content)
        message = outcome(path)
        refused += bool(message)
        assert "\n" not in message
    assert refused > 10


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "a damaged pickle"),
        (b"PK\x03\x04", "its directory cannot be read"),
        (b"\x00" * 257 + b"ustar\x00" + b"\x00" * 500, "a tar archive of a torch before 0.2"),
        (b"hello " * 1000, "a damaged pickle"),
        (b"\x89PNG\r\n\x1a\n", "a damaged pickle"),
    ],
)
def test_files_of_other_kinds_are_refused(content: bytes, reason: str, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"model\.pt is no readable torch file \({reason}.*; save model\.state"
    ):
        read_torch_archive(path)


def test_archives_without_what_torch_writes_are_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"without an uncompressed data\.pkl\)"):
        read_torch_archive(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/model.json", "{}")
    with pytest.raises(ValueError, match=r"but model\.json, as TorchScript before torch 1\.4"):
        read_torch_archive(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no file; expected a file that torch"):
        read_torch_archive(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is no file"):
        read_torch_archive(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read_torch_archive(tmp_path / "absent.pt")


@pytest.mark.parametrize(
    ("value", "kind"), [([1, 2], "list"), (3, "int"), ("text", "str"), (torch.float32, "torch.float32")]
)
def test_what_holds_no_network_is_refused(value: Any, kind: str, path: Path) -> None:
    torch.save(value, path)
    with pytest.raises(UnsupportedModelError, match=f"holds a {re.escape(kind)}; expected a state_dict"):
        read_torch_archive(path)


def test_legacy_files_that_contradict_themselves_are_refused(files: dict[str, bytes], path: Path) -> None:
    whole = files["legacy"]
    path.write_bytes(whole.replace(b"M\xe9\x03.", b"M\xe8\x03."))
    with pytest.raises(ValueError, match="a legacy file of an unknown protocol"):
        read_torch_archive(path)
    names = re.findall(rb"X.\x00\x00\x00(\d{10,})", whole)
    (name, *_) = names
    path.write_bytes(whole[::-1].replace(name[::-1], (b"9" * len(name))[::-1], 1)[::-1])
    with pytest.raises(ValueError, match="with a storage that nothing uses"):
        read_torch_archive(path)


def test_numbers_of_layers_with_thousands_of_digits_are_no_numbers(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    name = f"weight_hh_l{'9' * 6000}"
    save_file({name: torch.eye(3), "fc.weight": torch.eye(2)}, tmp_path / "m.safetensors")
    found = named_matrices(tmp_path / "m.safetensors")
    assert [one.name for one in found] == ["fc.weight"]
    assert [one for one, _ in found.unrecognised] == [name]
