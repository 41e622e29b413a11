"""A live module, its state dictionary, and the same under every wrapper give the same matrices."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnn.reading.layer_kinds import KINDS, kind_of_class, kind_of_name
from rnn.reading.modules import tensors_of_module
from rnn.reading.packed import unpacked
from rnn.weights import NamedMatrices, named_matrices
from spectra.errors import UnsupportedModelError


def network() -> nn.Module:
    torch_random = torch.random.get_rng_state()
    torch.random.set_rng_state(torch.Generator().manual_seed(0).get_state())
    model = nn.Sequential(
        nn.Linear(3, 4),
        nn.utils.parametrizations.spectral_norm(nn.LSTM(4, 3, num_layers=2, proj_size=2), "weight_hh_l0"),
        nn.Sequential(nn.MultiheadAttention(6, 2), nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))),
    )
    torch.random.set_rng_state(torch_random)
    return model


def summary(found: NamedMatrices) -> list[tuple[Any, ...]]:
    return [(m.name, m.layer, m.direction, m.gate, m.role, m.shape, m.matrix.tobytes()) for m in found]


def compiled(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what torch.compile itself imports
        return torch.compile(model)


def compiled_inside(model: nn.Module) -> nn.Module:
    model[0], model[2] = compiled(model[0]), compiled(model[2])
    return model


def parallel(model: nn.Module) -> nn.Module:
    return nn.DataParallel(model)


def parallel_inside(model: nn.Module) -> nn.Module:
    model[2] = nn.DataParallel(compiled(model[2]))
    return model


def checkpointed(model: nn.Module) -> nn.Module:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    model[0] = checkpoint_wrapper(model[0])
    return model


WRAPPERS = [compiled, compiled_inside, parallel, parallel_inside, checkpointed]


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_wrappers_change_no_name_and_no_value(wrap: Callable[[nn.Module], nn.Module]) -> None:
    expected = summary(named_matrices(network()))
    wrapped = wrap(network())
    assert summary(named_matrices(wrapped)) == expected
    assert summary(named_matrices(wrapped.state_dict())) == expected
    assert named_matrices(wrapped).unrecognised == named_matrices(wrapped.state_dict()).unrecognised == []


def test_prefixes_of_sharded_modules_are_left_out() -> None:
    state = nn.Sequential(nn.GRU(2, 3)).state_dict()
    wrapped = {
        f"_fsdp_wrapped_module.{key.replace('0.', '0._fsdp_wrapped_module.')}": state[key] for key in state
    }
    assert summary(named_matrices(wrapped)) == summary(named_matrices(state))


@pytest.fixture
def group() -> Iterator[None]:
    """A process group of one."""
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_distributed_modules() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    plain = nn.Sequential(nn.Linear(3, 4), nn.GRU(4, 2))
    expected = summary(named_matrices(plain))
    assert summary(named_matrices(nn.parallel.DistributedDataParallel(plain))) == expected
    sharded = fully_shard(plain, mesh=init_device_mesh("cpu", (1,)))
    assert type(sharded.state_dict()["0.weight"]).__name__ == "DTensor"
    assert summary(named_matrices(sharded)) == expected
    assert summary(named_matrices(sharded.state_dict())) == expected


def test_lightning_modules_and_their_checkpoints(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightning

        class Lit(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.rnn, self.head = nn.GRU(3, 4), nn.Linear(4, 2)

            def training_step(self, batch: torch.Tensor) -> torch.Tensor:
                return self.head(self.rnn(batch)[0]).square().mean()

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.Adam(self.parameters())

        model = Lit()
        trainer = lightning.Trainer(
            max_steps=1, logger=False, enable_checkpointing=False, accelerator="cpu",
            default_root_dir=tmp_path, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(model, torch.utils.data.DataLoader(torch.randn(2, 5, 3)))
        trainer.save_checkpoint(tmp_path / "a.ckpt")
    bare = nn.Module()
    bare.rnn, bare.head = model.rnn, model.head
    expected = summary(named_matrices(bare))
    assert len(expected) == 7
    for source in (model, model.state_dict(), compiled(model), tmp_path / "a.ckpt"):
        assert summary(named_matrices(source)) == expected


def quantised(layer: nn.Module, dtype: torch.dtype = torch.qint8) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(nn.Sequential(layer), {type(layer)}, dtype=dtype)
    assert type(model[0]) is not type(layer)
    return model


@pytest.mark.parametrize("dtype", [torch.qint8, torch.float16])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(5, 4),
        nn.GRU(5, 4, num_layers=2),
        nn.LSTM(5, 4, num_layers=3, bidirectional=True),
        nn.LSTM(4, 4, num_layers=2, bidirectional=True),
        nn.GRU(5, 4, bidirectional=True),
        nn.LSTMCell(5, 4),
        nn.GRUCell(5, 4),
        nn.RNNCell(5, 4),
    ],
    ids=repr,
)
def test_quantised_layers_give_the_matrices_to_their_precision(layer: nn.Module, dtype: torch.dtype) -> None:
    model = quantised(layer, dtype)
    packed = model[0].get_weight() if hasattr(model[0], "get_weight") else {"weight": model[0].weight()}
    plain = {f"0.{name}": weight.dequantize() for name, weight in packed.items()}
    for source in (model, model.state_dict()):
        found = named_matrices(source)
        assert {record.name for record in found} == {f"0.{record.name}" for record in named_matrices(layer)}
        assert summary(found) == summary(named_matrices(plain))
        assert found.unrecognised == []
    for name, weight in packed.items():
        step = weight.q_scale() if dtype == torch.qint8 else 2**-11  # of numbers below 1
        assert (weight.dequantize() - layer.state_dict()[name]).abs().max() <= 0.501 * step


def test_one_step_of_a_quantised_gru_from_its_matrices() -> None:
    model, x, h = quantised(nn.GRUCell(5, 4)), torch.ones(1, 5), torch.full((1, 4), 0.5)
    parts = {(m.role, m.gate): m.matrix for m in named_matrices(model)}
    biases = {key: value.detach().numpy() for key, value in model[0].get_bias().items()}
    sums = {
        gate: (
            parts["input", gate] @ x[0].numpy() + biases["bias_ih"][4 * k : 4 * k + 4],
            parts["recurrent", gate] @ h[0].numpy() + biases["bias_hh"][4 * k : 4 * k + 4],
        )
        for k, gate in enumerate("rzn")
    }
    r, z = (1 / (1 + np.exp(-sum(sums[gate]))) for gate in "rz")
    n = np.tanh(sums["n"][0] + r * sums["n"][1])
    theirs = model[0](x, h)[0].detach().numpy()
    np.testing.assert_allclose((1 - z) * n + z * 0.5, theirs, atol=5e-3)  # inputs are quantised as well


def test_quantised_tensors() -> None:
    W = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        whole = torch.quantize_per_tensor(W, 0.05, 3, torch.quint8)
        by_row = torch.quantize_per_channel(W, torch.full((4,), 0.01), torch.zeros(4), 0, torch.qint8)
    found = named_matrices({"a.weight": whole, "b.weight": by_row})
    assert found.unrecognised == []
    np.testing.assert_array_equal(found[0].matrix, whole.dequantize().double().numpy())
    np.testing.assert_array_equal(found[1].matrix, by_row.dequantize().double().numpy())


def test_packed_layers_whose_directions_are_not_known_are_listed() -> None:
    model = quantised(nn.LSTM(4, 4, num_layers=2))
    assert len(named_matrices(model)) == 16
    found = named_matrices({**model.state_dict(), "head.weight": torch.eye(2)})
    assert [record.name for record in found] == ["head.weight"]
    assert len(found.unrecognised) == 2
    assert all("two layers: pass or save the module itself" in reason for _, reason in found.unrecognised)


def test_packed_values_under_other_names_are_listed() -> None:
    packed = quantised(nn.GRUCell(2, 2)).state_dict()["0._packed_weight_ih"]
    content, unrecognised = unpacked({"w": packed, "x": 3, "y._packed_params._packed_params": ()})
    assert content == {"x": 3}
    assert [key for key, _ in unrecognised] == ["w", "y._packed_params._packed_params"]
    assert unrecognised[0][1] == "a packed value of a kind that is not read yet"
    plain = {"weight": torch.eye(2)}
    assert unpacked(plain) == (plain, [])


def test_packed_values_that_cannot_be_opened_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(value: object) -> object:
        raise RuntimeError("no pickling")

    state = quantised(nn.GRUCell(2, 2)).state_dict()
    monkeypatch.setattr("rnn.reading.packed._state", broken)
    content, unrecognised = unpacked(state)
    assert not [key for key in content if "packed" in key]
    assert [key for key, _ in unrecognised] == ["0._packed_weight_ih", "0._packed_weight_hh"]
    assert unrecognised[0][1] == "a packed weight that could not be opened (no pickling)"


def test_layers_that_are_not_initialised_are_listed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2))
    found = named_matrices(model)
    assert [record.name for record in found] == ["1.weight"]
    assert found.unrecognised == [
        (f"0.{name}", "not initialised yet; run the model once, then read it") for name in ("weight", "bias")
    ]


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.W, self.kernel = nn.Parameter(torch.eye(3)), nn.Parameter(torch.ones(2, 3, 4))
        self.weight_hh, self.gain = nn.Parameter(torch.eye(3)), nn.Parameter(torch.ones(3))
        self.experts = nn.Module()
        self.experts.weight = nn.Parameter(torch.ones(2, 3, 4))


def test_parameters_of_unknown_meaning_are_listed_with_what_to_do() -> None:
    found = named_matrices(Custom())
    assert [record.name for record in found] == ["weight_hh"]
    reasons = dict(found.unrecognised)
    assert set(reasons) == {"W", "kernel", "experts.weight"}
    assert "pass {'weight_hh': W}" in reasons["W"]
    assert all("pass its slices one by one" in reasons[key] for key in ("kernel", "experts.weight"))


def test_snapshots_do_not_follow_later_training() -> None:
    layer = nn.Linear(2, 2).to(torch.bfloat16)
    found, before = named_matrices(layer), layer.weight.detach().double().numpy().copy()
    with torch.no_grad():
        layer.weight += 1
    np.testing.assert_array_equal(found[0].matrix, before)
    assert tensors_of_module(layer).entries["weight"].dtype == "bfloat16"


class Configuration:
    def __init__(self, **entries: Any) -> None:
        self.entries = entries

    def to_dict(self) -> dict[str, Any]:
        return dict(self.entries)


def test_the_configuration_is_that_of_the_outermost_module() -> None:
    inner, other = nn.Linear(2, 2), nn.Linear(2, 2)
    inner.config, other.config = Configuration(n_head=2), Configuration(n_head=3)
    assert tensors_of_module(nn.Linear(2, 2)).config == {}
    assert tensors_of_module(inner).config == {"n_head": 2}
    assert tensors_of_module(nn.DataParallel(inner)).config == {"n_head": 2}
    assert tensors_of_module(nn.Sequential(inner, nn.ReLU())).config == {"n_head": 2}
    both = nn.Sequential(inner, other)
    assert tensors_of_module(both).config == {}
    both.config = Configuration(n_head=5)
    assert tensors_of_module(nn.DataParallel(both)).config == {"n_head": 5}
    inner.config = "a word"
    assert tensors_of_module(inner).config == {}


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.Linear(2, 2), "linear"),
        (nn.MultiheadAttention(2, 1).out_proj, "linear"),
        (nn.Embedding(2, 2), "embedding"),
        (nn.Conv3d(1, 1, 1), "convolution"),
        (nn.ConvTranspose2d(1, 1, 1), "transposed convolution"),
        (nn.InstanceNorm1d(2, affine=True), "scale"),
        (nn.RMSNorm((2, 2)), "scale"),
        (nn.SyncBatchNorm(2), "scale"),
        (nn.Bilinear(2, 2, 2), "! a bilinear form is no matrix"),
        (nn.ReLU(), ""),
        (nn.GRU(2, 2), ""),
    ],
    ids=repr,
)
def test_kinds_of_live_layers_and_of_their_names_in_files(layer: nn.Module, kind: str) -> None:
    class Own(type(layer)):  # type: ignore[misc]
        pass

    assert kind_of_class(type(layer)) == kind_of_class(Own) == kind
    module, name = type(layer).__module__, type(layer).__qualname__
    for written in (
        f"{module}.{name}",
        f"__torch__.{module}.{name}",
        f"__torch__.{module}.___torch_mangle_3.{name}",
    ):
        assert kind_of_name(written) == kind


def test_kinds_know_groups_and_quantised_layers() -> None:
    assert kind_of_class(nn.ConvTranspose1d, groups=2).startswith("! a transposed convolution in groups")
    assert kind_of_name("torch.nn.modules.conv.ConvTranspose1d", groups=2).startswith("!")
    assert kind_of_class(nn.Conv1d, groups=2) == "convolution"
    assert kind_of_class(type(quantised(nn.Linear(2, 2))[0])) == "linear"
    assert kind_of_name("my_project.Linear") == ""
    known = {"linear", "transposed linear", "embedding", "convolution", "transposed convolution", "scale"}
    assert all(kind in known or kind.startswith("! ") for kind in KINDS.values())


def test_weights_that_are_no_parameters_are_listed() -> None:
    layer = nn.Linear(3, 3)
    del layer.weight
    layer.weight = 2 * torch.eye(3, requires_grad=True)
    found = named_matrices(nn.Sequential(layer, nn.Linear(3, 2)))
    assert [one.name for one in found] == ["1.weight"]
    ((name, reason),) = found.unrecognised
    assert name == "0.weight"
    assert reason.startswith("a plain tensor, no parameter")


def test_a_state_dict_that_raises_is_told_in_one_line() -> None:
    layer = nn.Linear(3, 3)

    def hook(*_: Any) -> None:
        raise RuntimeError("first\nsecond")

    layer.register_state_dict_pre_hook(hook)
    words = r"source \(Linear\) gives no state_dict \(RuntimeError: first second\); pass its weights"
    with pytest.raises(UnsupportedModelError, match=words):
        named_matrices(layer)
