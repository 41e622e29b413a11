"""Without the extra [rnn] every name of it says what to install."""

import sys

import pytest

import rnn
from rnn import extra


@pytest.mark.parametrize("name", ["load_task", "attack", "named_matrices"])
def test_a_name_that_needs_torch_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [m for m in sys.modules if m.startswith("rnn.") and m != "rnn.extra"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=rf"rnn.{name} needs torch.*pip install"):
        getattr(rnn, name)


def test_nothing_is_missing_here() -> None:
    assert extra.missing_packages() == []
    assert "scikit-learn" in extra.advice("this", ["sklearn"])


def test_each_extra_is_named_with_its_packages() -> None:
    assert "'spectra-rnn[rnn]'" in extra.advice("this", ["safetensors"])
    assert "'spectra-rnn[rnn,onnx]'" in extra.advice("this", ["onnx"])
    assert "'spectra-rnn[rnn,dask,parquet]'" in extra.advice("this", ["pyarrow", "distributed"])
    assert "onnx" not in extra.missing_packages()


@pytest.mark.parametrize("name", ["onnx", "safetensors", "distributed", "pyarrow"])
def test_what_needs_a_package_that_is_missing_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    extra.require(name, what="this")
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=rf"^this needs {name}.*pip install") as caught:
        extra.require(name, what="this")
    assert caught.value.name == name
