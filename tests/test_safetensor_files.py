"""Safetensors: each tensor as it was saved, read one by one; what is damaged is refused in one line."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rnn.reading.safetensor_files import read_safetensors
from rnn.reading.sources import read_source
from rnn.reading.tensors import NotUnderstoodError
from rnn.weights import named_matrices
from spectra.errors import UnsupportedModelError


def raw_file(path: Path, header: object, data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.int64,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.bool,
    torch.complex64,
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_comes_back_as_it_was_saved(dtype: torch.dtype, tmp_path: Path) -> None:
    values = torch.tensor([[1.0, -2.0, 0.5], [3.0, 4.0, -0.25]]).to(dtype)
    save_file({"a.weight": values}, tmp_path / "a.safetensors")
    stored = read_safetensors(tmp_path / "a.safetensors").entries["a.weight"]
    assert stored.shape == (2, 3)
    assert stored.dtype == str(dtype).removeprefix("torch.")
    assert stored.read().dtype == dtype
    assert torch.equal(stored.read().to(torch.complex64), values.to(torch.complex64))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_short_floats_become_matrices_exactly(dtype: torch.dtype, tmp_path: Path) -> None:
    values = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    save_file({"a.weight": values}, tmp_path / "a.safetensors")
    (found,) = named_matrices(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(found.matrix, values.double().numpy())


def test_a_file_gives_the_same_matrices_as_its_module(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Embedding(7, 3), nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2))
    save_file(model.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    theirs = {m.name: m.matrix for m in named_matrices(model)}
    ours = {m.name: m.matrix for m in named_matrices(tmp_path / "model.safetensors") if m.role != "linear"}
    assert ours.keys() == theirs.keys() - {"0.weight"}
    for name, matrix in ours.items():
        np.testing.assert_array_equal(matrix, theirs[name])


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a.weight": torch.eye(3), "b.weight": torch.ones(2, 2)}, path)
    table = read_source(path)
    save_file({"a.weight": 2 * torch.eye(3)}, path)
    assert torch.equal(table.entries["a.weight"].read(), 2 * torch.eye(3))
    with pytest.raises(NotUnderstoodError, match=r"cannot be read any more \(.*b\.weight"):
        table.entries["b.weight"].read()
    path.unlink()
    with pytest.raises(NotUnderstoodError, match="cannot be read any more"):
        table.entries["a.weight"].read()


def test_packed_numbers_are_listed_and_the_rest_is_read(tmp_path: Path) -> None:
    header = {
        "a.weight": {"dtype": "F4", "shape": [2, 4], "data_offsets": [0, 4]},
        "b.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [4, 12]},
        "c.weight": {"dtype": "F6_E2M3", "shape": [2, 2], "data_offsets": [12, 15]},
    }
    found = named_matrices(raw_file(tmp_path / "a.safetensors", header, bytes(15)))
    assert [m.name for m in found] == ["b.weight"]
    assert dict(found.unrecognised) == {
        "a.weight": "numbers of type F4, several to a byte; not read",
        "c.weight": "numbers of type F6_E2M3, several to a byte; not read",
    }


@pytest.mark.parametrize("scale", ["a.weight_scale_inv", "a.weight_scale", "a.scale", "a.scale_weight"])
def test_eight_bits_are_multiplied_by_the_scale_beside_them(scale: str, tmp_path: Path) -> None:
    tensors = {"a.weight": torch.eye(2).to(torch.float8_e4m3fn), scale: torch.tensor(0.25)}
    save_file(tensors | {"b.weight": torch.eye(2).to(torch.float8_e4m3fn)}, tmp_path / "a.safetensors")
    found = named_matrices(tmp_path / "a.safetensors")
    assert {m.name: m.matrix.tolist() for m in found} == {
        "a.weight": [[0.25, 0.0], [0.0, 0.25]],
        "b.weight": [[1.0, 0.0], [0.0, 1.0]],
    }
    assert scale in found["a.weight"].origin
    assert found.unrecognised == []


def test_values_that_are_no_weights_are_listed(tmp_path: Path) -> None:
    tensors = {
        "nan.weight": torch.tensor([[1.0, torch.nan], [0, 0]]),
        "empty.weight": torch.zeros(0, 3),
        "whole.weight": torch.ones(2, 2, dtype=torch.int8),
        "cube.weight": torch.ones(2, 2, 2),
        "one": torch.tensor(1.0),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    found = named_matrices(tmp_path / "a.safetensors")
    assert [(m.name, m.role) for m in found] == [("cube.weight", "convolution")]
    assert dict(found.unrecognised) == {
        "nan.weight": "1 NaN or infinite entries",
        "empty.weight": "empty, shape (0, 3)",
        "whole.weight": "numbers of type int8, not real weights",
    }


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1000, 1000], "data_offsets": [0, 4_000_000]}},
        {"a": {"dtype": "F32", "shape": [-1, 2], "data_offsets": [0, 0]}},
        {"a": {"dtype": "G32", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        [1, 2],
    ],
)
def test_headers_that_lie_are_refused(header: object, tmp_path: Path) -> None:
    path = raw_file(tmp_path / "a.safetensors", header, bytes(4))
    with pytest.raises(ValueError, match=r"a\.safetensors is no readable \.safetensors file \(") as caught:
        named_matrices(path)
    assert "\n" not in str(caught.value)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(nn.GRU(2, 2).state_dict(), path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"no readable \.safetensors file"):
            named_matrices(path)


def test_wrong_bytes_are_refused_or_read(tmp_path: Path) -> None:
    path, random = tmp_path / "a.safetensors", np.random.default_rng(0)
    save_file(nn.GRU(2, 2).state_dict(), path)
    whole = path.read_bytes()
    refusals = []
    for _ in range(400):
        content = bytearray(whole)
        for place in random.integers(len(whole), size=3):
            content[place] = random.integers(256)
        path.write_bytes(content)
        try:
            named_matrices(path)
        except (ValueError, UnsupportedModelError) as error:
            refusals.append(str(error))
    assert 100 < len(refusals) < 400
    assert not any("\n" in text for text in refusals)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\x80\x02}q\x00.", b"\xff" * 16, bytes(8)])
def test_other_files_under_this_suffix_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"no readable \.safetensors file"):
        named_matrices(tmp_path / "a.safetensors")


def test_an_empty_table_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"source \(a\.safetensors\) holds no tensors"):
        named_matrices(raw_file(tmp_path / "a.safetensors", {}))
