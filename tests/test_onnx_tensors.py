"""Tensors of ONNX models: every type, inside the file and beside it; damaged ones are listed or refused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import A, constants, model_of, of, recurrent_model, saved

from rnn.reading import onnx_graphs
from rnn.reading.onnx_tensors import stored_constant
from rnn.reading.sources import read_source
from rnn.reading.tensors import NotUnderstoodError
from rnn.weights import named_matrices
from spectra.errors import UnsupportedModelError

VALUES = np.array([[1.0, -2.0, 0.5], [3.0, 4.0, -1.0]])
TYPES = {
    "DOUBLE": "float64",
    "FLOAT": "float32",
    "FLOAT16": "float16",
    "BFLOAT16": "bfloat16",
    "FLOAT8E4M3FN": "float8_e4m3fn",
    "FLOAT8E5M2": "float8_e5m2",
    "FLOAT4E2M1": "float4e2m1",
    "INT8": "int8",
    "INT64": "int64",
    "INT4": "int4",
    "BOOL": "bool",
    "COMPLEX64": "complex64",
}


def cast(name: str) -> np.ndarray:
    return VALUES.astype(helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(name)))


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("name", TYPES)
def test_every_type_comes_back_as_it_was_stored(name: str, raw: bool, tmp_path: Path) -> None:
    values = cast(name)
    if raw:
        tensor = numpy_helper.from_array(values, "W")
    else:
        tensor = helper.make_tensor("W", TensorProto.DataType.Value(name), [2, 3], values.ravel().tolist())
    constant = stored_constant(tensor, tmp_path)
    assert (constant.shape, constant.dtype) == ((2, 3), TYPES[name])
    np.testing.assert_array_equal(constant.read(), values.astype(constant.read().dtype))
    assert constant.read().dtype.isbuiltin == 1


@pytest.mark.parametrize("name", ["DOUBLE", "FLOAT16", "BFLOAT16", "FLOAT8E4M3FN"])
def test_floats_of_every_width_become_matrices(name: str, tmp_path: Path) -> None:
    model = model_of([of("MatMul", "x", "W", outputs=("y",))], [numpy_helper.from_array(cast(name), "W")])
    (found,) = named_matrices(saved(tmp_path / "m.onnx", model))
    np.testing.assert_array_equal(found.matrix, cast(name).astype(np.float64).T)


@pytest.mark.parametrize(
    "array", [np.array([[np.nan, 1], [0, 0]]), np.zeros((0, 3)), np.eye(2, dtype=np.int64)]
)
def test_values_that_are_no_weights_are_listed(array: np.ndarray, tmp_path: Path) -> None:
    nodes = [of("MatMul", "x", "bad", outputs=("y",)), of("MatMul", "x", "good", outputs=("z",))]
    found = named_matrices(saved(tmp_path / "m.onnx", model_of(nodes, constants(bad=array, good=A))))
    assert [m.name for m in found] == ["good.weight"]
    assert [key for key, _ in found.unrecognised] == ["bad.weight"]


def broken(**changes: Any) -> TensorProto:
    tensor = numpy_helper.from_array(A, "bad")
    for name, value in changes.items():
        if name == "dims":
            del tensor.dims[:]
            tensor.dims.extend(value)
        elif name == "segment":
            tensor.segment.begin = 0
        else:
            setattr(tensor, name, value)
    return tensor


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dims": [4, 7]}, "needs 112 bytes, there are 96"),
        ({"dims": [10**9, 10**9]}, "needs 4000000000000000000 bytes, there are 96"),
        ({"dims": [-4, -6]}, r"a shape of \(-4, -6\)"),
        ({"data_type": TensorProto.STRING}, "values of type string, not of numbers"),
        ({"data_type": TensorProto.UNDEFINED}, "values of type undefined, not of numbers"),
        ({"data_type": 99}, "values of an unknown type"),
        ({"raw_data": b""}, "there are 0"),
        ({"segment": 1}, "a tensor in segments"),
    ],
)
def test_damaged_tensors_are_listed_and_the_rest_is_read(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    nodes = [of("MatMul", "x", "bad", outputs=("y",)), of("MatMul", "x", "good", outputs=("z",))]
    model = model_of(nodes, [broken(**changes), *constants(good=A)])
    found = named_matrices(saved(tmp_path / "m.onnx", model))
    assert [m.name for m in found] == ["good.weight"]
    ((key, why),) = found.unrecognised
    assert key == "bad"
    with pytest.raises(ValueError, match=reason):
        raise ValueError(why)


def test_fields_with_too_few_numbers_are_listed(tmp_path: Path) -> None:
    tensor = TensorProto(name="bad", data_type=TensorProto.FLOAT, dims=[2, 3], float_data=[1.0, 2.0])
    nodes = [of("MatMul", "x", "bad", outputs=("y",)), of("MatMul", "x", "good", outputs=("z",))]
    found = named_matrices(saved(tmp_path / "m.onnx", model_of(nodes, [tensor, *constants(good=A)])))
    assert [m.name for m in found] == ["good.weight"]
    assert found.unrecognised[0][1].startswith("cannot be read (cannot reshape")


def test_sparse_tensors_are_listed(tmp_path: Path) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    places = numpy_helper.from_array(np.array([3]), "places")
    sparse = helper.make_sparse_tensor(values, places, [4, 6])
    inner = helper.make_node("Constant", [], ["inside"], sparse_value=sparse)
    nodes = [inner, of("MatMul", "x", "good", outputs=("y",))]
    model = model_of(nodes, constants(good=A), sparse_initializer=[sparse])
    assert named_matrices(saved(tmp_path / "m.onnx", model)).unrecognised == [
        ("sparse", "a sparse tensor, which is not read"),
        ("inside", "a sparse tensor, which is not read"),
    ]


def external(folder: Path, **told: object) -> Path:
    """One weight inside the file and one beside it."""
    (folder / "data.bin").write_bytes(b"head" + A.tobytes())
    tensor = TensorProto(name="far", data_type=TensorProto.FLOAT, dims=A.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "data.bin", "offset": 4, "length": A.nbytes} | told).items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    nodes = [of("MatMul", "x", "far", outputs=("y",)), of("MatMul", "x", "near", outputs=("z",))]
    return saved(folder / "m.onnx", model_of(nodes, [tensor, *constants(near=A)]))


@pytest.mark.parametrize("length", [A.nbytes, None])
def test_data_beside_the_model_is_read_when_it_is_asked_for(length: int | None, tmp_path: Path) -> None:
    stored = read_source(external(tmp_path, length=length)).entries["far.weight"]
    np.testing.assert_array_equal(stored.read().numpy(), A.T)
    (tmp_path / "data.bin").write_bytes(b"head" + (2 * A).tobytes())
    np.testing.assert_array_equal(stored.read().numpy(), 2 * A.T)
    (tmp_path / "data.bin").unlink()
    with pytest.raises(NotUnderstoodError, match=r"cannot be read \(.*No such file"):
        stored.read()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"location": "../data.bin"}, "leads outside its folder"),
        ({"location": "/etc/passwd"}, "leads outside its folder"),
        ({"location": "link.bin"}, "is a link that leads outside its folder"),
        ({"location": "absent.bin"}, "'absent.bin' is missing"),
        ({"location": None}, "is no name of a file"),
        ({"offset": 5}, "96 bytes at 5 of data.bin are needed, which has 100"),
        ({"offset": -4}, "96 bytes at -4"),
        ({"offset": "x"}, "offset or length of its external data is no number"),
        ({"length": 95}, "96 bytes at 4"),
        ({"length": 10**30}, "96 bytes at 4"),
    ],
)
def test_data_that_is_not_in_the_folder_is_listed_and_the_rest_is_read(
    told: dict[str, object], reason: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "data.bin").write_bytes(b"head" + A.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "data.bin")
    found = named_matrices(external(folder, **told))
    assert [m.name for m in found] == ["near.weight"]
    ((key, why),) = found.unrecognised
    assert key == "far"
    assert reason in why


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", recurrent_model("RNN"))
    whole = path.read_bytes()
    graph = whole.index(b"\x3a")  # the field of the graph, before the version of the operators
    for length in range(0, len(whole) - 8):
        path.write_bytes(whole[:length])
        with pytest.raises((ValueError, UnsupportedModelError), match=r"m\.onnx") as caught:
            named_matrices(path)
        assert "\n" not in str(caught.value)
    assert graph < 20


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_wrong_bytes_are_refused_listed_or_read(op: str, tmp_path: Path) -> None:
    path, random = tmp_path / "m.onnx", np.random.default_rng(0)
    whole = saved(path, recurrent_model(op)).read_bytes()
    start = whole.index(b"my_layer")
    outcomes = []
    for _ in range(400):
        content = bytearray(whole)
        content[random.integers(len(whole))] = random.integers(256)
        content[start + random.integers(-60, 200)] = random.integers(256)  # where the structure is
        path.write_bytes(content)
        try:
            outcomes.append(("read", str(len(named_matrices(path)))))
        except UnsupportedModelError as error:
            outcomes.append(("listed", str(error)))
        except ValueError as error:
            outcomes.append(("refused", str(error)))
    assert {sort for sort, _ in outcomes} == {"read", "listed", "refused"}
    assert not any("\n" in text for _, text in outcomes)


@pytest.mark.parametrize(
    "content", [b"", b"\x08\x0a", b"hello, world", b"\x80\x02}q\x00.", b"PK\x03\x04", b"\xff" * 99]
)
def test_other_files_under_this_suffix_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"m\.onnx is no readable \.onnx file \(.*; export the model again"):
        named_matrices(tmp_path / "m.onnx")


def test_a_graph_without_weights_is_no_model(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", model_of([of("Relu", "x", outputs=("y",))], []))
    with pytest.raises(UnsupportedModelError, match=r"source \(m\.onnx\) holds no tensors"):
        named_matrices(path)


def test_a_file_beyond_the_limit_of_the_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "m.onnx", recurrent_model("RNN"))
    monkeypatch.setattr(onnx_graphs, "_LARGEST", 100)
    with pytest.raises(ValueError, match="larger than the 2 GiB that the format allows"):
        named_matrices(path)


def test_attributes_of_another_type_are_listed(tmp_path: Path) -> None:
    model = recurrent_model("RNN")
    model.graph.node[0].attribute.append(helper.make_attribute("direction", 3))
    with pytest.raises(UnsupportedModelError, match="attribute direction of RNN is 3"):
        named_matrices(saved(tmp_path / "m.onnx", model))


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "m.onnx", recurrent_model("RNN"))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"reading \.onnx files needs onnx.*\[rnn,onnx\]"):
        named_matrices(path)
