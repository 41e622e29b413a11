"""Each part of a fused weight gives the queries, keys and values that the model itself computes with it."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from rnn.reading.tensors import Tensors, stored_tensor
from rnn.weights import NamedMatrices, named_matrices

SEEN: list[torch.Tensor] = []


def transformer(family: str, **options: Any) -> nn.Module:
    """A tiny model of a family whose attention leaves queries, keys and values in `SEEN`."""
    from transformers import AttentionInterface, AutoConfig, AutoModel

    def spy(module: nn.Module, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: Any, **__: Any) -> Any:
        SEEN[:] = [q, k, v]
        return torch.zeros(1, 1, q.shape[1], q.shape[-1]), None

    AttentionInterface.register("spy", spy)
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        config = AutoConfig.for_model(family, attn_implementation="spy", **options)
        return AutoModel.from_config(config).eval()


SIZES = {"hidden_size": 24, "num_attention_heads": 6, "num_hidden_layers": 2, "vocab_size": 11}
SMALL = SIZES | {"intermediate_size": 20, "pad_token_id": 0}
GPT2 = {"n_embd": 24, "n_head": 6, "n_layer": 2, "vocab_size": 11, "bos_token_id": 0, "eos_token_id": 0}


def queries_keys_values(model: nn.Module, layer: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """What went into a layer for one token at position 0, where rotary embeddings turn nothing."""
    inputs: list[torch.Tensor] = []
    hook = model.get_submodule(layer).register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with torch.no_grad():
        model(torch.tensor([[7]]))
    hook.remove()
    return inputs[-1].flatten().numpy(), [part.flatten().numpy() for part in SEEN]


FUSED = [
    ("gpt2", "h.1.attn.c_attn", GPT2),
    ("gpt_bigcode", "h.1.attn.c_attn", GPT2 | {"multi_query": True}),
    ("gpt_bigcode", "h.1.attn.c_attn", GPT2 | {"multi_query": False}),
    ("gpt_neox", "layers.1.attention.query_key_value", SMALL),
    ("persimmon", "layers.1.self_attn.query_key_value", SMALL | {"qk_layernorm": False}),
    ("phi3", "layers.1.self_attn.qkv_proj", SMALL | {"num_key_value_heads": 2}),
    ("phi3", "layers.1.self_attn.qkv_proj", SMALL | {"num_key_value_heads": 6}),
    (
        "modernbert",
        "layers.1.attn.Wqkv",
        SMALL | {"cls_token_id": 0, "sep_token_id": 0, "bos_token_id": 0, "eos_token_id": 0},
    ),
]


@pytest.mark.parametrize(("family", "layer", "options"), FUSED)
def test_parts_of_fused_weights_give_what_the_model_computes(
    family: str, layer: str, options: dict[str, Any]
) -> None:
    model = transformer(family, **options)
    found = named_matrices(model)
    x, expected = queries_keys_values(model, layer)
    for part, theirs in zip("qkv", expected, strict=True):
        record = found[f"{layer}.weight[{part}]"]
        assert record.role == "attention"
        assert record.matrix.shape == record.shape == (len(theirs), len(x))
        np.testing.assert_allclose(record.matrix @ x, theirs, atol=2e-6)
    assert not [key for key, _ in found.unrecognised if "attn" in key or "attention" in key]


FALCON = SMALL | {"bias": False, "alibi": False}


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("bloom", {"hidden_size": 24, "n_head": 6, "n_layer": 1, "vocab_size": 11}),
        ("falcon", FALCON | {"multi_query": True, "new_decoder_architecture": False}),
        ("falcon", FALCON | {"multi_query": False, "new_decoder_architecture": False}),
        ("falcon", FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2}),
    ],
    ids=["bloom", "falcon: one key for all", "falcon: as many keys", "falcon: groups"],
)
def test_parts_of_weights_by_head_are_those_the_model_splits(family: str, options: dict[str, Any]) -> None:
    from transformers import AutoConfig, AutoModel

    with torch.random.fork_rng():
        model = AutoModel.from_config(AutoConfig.for_model(family, **options)).eval()
    layer = next(name for name, _ in model.named_modules() if name.endswith("query_key_value"))
    attention = model.get_submodule(layer.rpartition(".")[0])
    W = model.get_submodule(layer).weight.detach()
    split = attention._reshape(W.T[None]) if family == "bloom" else attention._split_heads(W.T[None])
    found = named_matrices(model)
    for part, theirs in zip("qkv", split, strict=True):
        matrix = found[f"{layer}.weight[{part}]"].matrix
        theirs = (theirs.movedim(2, 1) if family == "bloom" else theirs)[0].flatten(1).T
        if len(theirs) > len(matrix):  # Falcon repeats each key for the heads of its group
            theirs = theirs.reshape(2, 3, 4, 24)[:, 0].reshape(8, 24)
        np.testing.assert_array_equal(matrix, theirs.numpy())


def summary(found: NamedMatrices) -> dict[str, tuple[str, bytes]]:
    return {record.name: (record.role, record.matrix.tobytes()) for record in found}


def test_state_dictionaries_of_gpt2_are_read_as_its_modules() -> None:
    model = transformer("gpt2", **GPT2, add_cross_attention=True)
    live, found = named_matrices(model), named_matrices(model.state_dict())
    assert summary(found) == summary(live)
    assert found.unrecognised == live.unrecognised == []
    roles = {record.name: (record.role, record.shape) for record in found if record.name.startswith("h.1.")}
    assert roles == {
        **{f"h.1.attn.c_attn.weight[{part}]": ("attention", (24, 24)) for part in "qkv"},
        "h.1.attn.c_proj.weight": ("attention", (24, 24)),
        **{f"h.1.crossattention.c_attn.weight[{part}]": ("attention", (24, 24)) for part in "kv"},
        "h.1.crossattention.q_attn.weight": ("attention", (24, 24)),
        "h.1.crossattention.c_proj.weight": ("attention", (24, 24)),
        "h.1.mlp.c_fc.weight": ("linear", (96, 24)),
        "h.1.mlp.c_proj.weight": ("linear", (24, 96)),
    }
    x = torch.randn(1, 1, 24)
    with torch.no_grad():
        attention, mlp = model.h[1].attn, model.h[1].mlp
        for name, layer in (("attn.c_proj", attention.c_proj), ("mlp.c_fc", mlp.c_fc)):
            ours = found[f"h.1.{name}.weight"].matrix @ x.numpy().ravel()
            np.testing.assert_allclose(ours, layer(x).numpy().ravel(), atol=1e-5)
    assert found["h.1.attn.c_attn.weight[k]"].origin == "state_dict: h.1.attn.c_attn.weight.T[24:48]"
    alone = named_matrices(model.h[1].attn.state_dict())
    np.testing.assert_array_equal(alone["c_proj.weight"].matrix, found["h.1.attn.c_proj.weight"].matrix)


class NanoAttention(nn.Module):
    """As in nanoGPT: plain linear layers, 3d by d."""

    def __init__(self) -> None:
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(6, 18, bias=False), nn.Linear(6, 6, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.unflatten(-1, (2, 3)).transpose(1, 2) for part in self.c_attn(x).split(6, dim=2))
        return self.c_proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class ImageAttention(nn.Module):
    """As in the vision transformers of timm."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(6, 18, bias=False), nn.Linear(6, 6, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, 2, 3).permute(2, 0, 3, 1, 4)
        return self.proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TorchAttention(nn.Module):
    def __init__(self, **options: int) -> None:
        super().__init__()
        self.mixer = nn.MultiheadAttention(6, 2, bias=False, batch_first=True, **options)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mixer(x, x, x)[0]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (NanoAttention(), ["c_attn.weight[q]", "c_attn.weight[k]", "c_attn.weight[v]", "c_proj.weight"]),
        (ImageAttention(), ["qkv.weight[q]", "qkv.weight[k]", "qkv.weight[v]", "proj.weight"]),
        (
            TorchAttention(),
            [*(f"mixer.in_proj_weight[{part}]" for part in "qkv"), "mixer.out_proj.weight"],
        ),
    ],
    ids=["nanoGPT", "timm", "torch"],
)
def test_parts_put_back_give_the_output(model: nn.Module, names: list[str]) -> None:
    model = model.double().eval()
    x = torch.randn(1, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for source in (model, model.state_dict()):
        found = named_matrices(source)
        assert [record.name for record in found] == names
        assert {record.role for record in found} == {"attention"}
        Q, K, V, out = (record.matrix for record in found)
        heads = [(x[0].numpy() @ M.T).reshape(5, 2, 3).swapaxes(0, 1) for M in (Q, K, V)]
        weights = np.exp(heads[0] @ heads[1].swapaxes(1, 2) / np.sqrt(3))
        mixed = (weights / weights.sum(-1, keepdims=True)) @ heads[2]
        with torch.no_grad():
            theirs = model(x)[0].numpy()
        np.testing.assert_allclose(mixed.swapaxes(0, 1).reshape(5, 6) @ out.T, theirs, atol=1e-12)


@pytest.mark.parametrize(
    ("family", "options", "expected"),
    [
        ("llama", SMALL | {"num_key_value_heads": 2}, ["self_attn.q_proj", "k_proj", "v_proj", "o_proj"]),
        ("bert", SMALL, ["attention.self.query", "key", "value", "attention.output.dense"]),
        (
            "distilbert",
            {"dim": 24, "n_heads": 6, "n_layers": 1, "hidden_dim": 20, "vocab_size": 11},
            ["attention.q_lin", "k_lin", "v_lin", "out_lin"],
        ),
        (
            "t5",
            {"d_model": 24, "d_kv": 4, "num_heads": 6, "num_layers": 1, "d_ff": 20, "vocab_size": 11},
            ["SelfAttention.q", "SelfAttention.k", "SelfAttention.v", "SelfAttention.o"],
        ),
    ],
)
def test_separate_projections_have_the_role_attention(
    family: str, options: dict[str, Any], expected: list[str]
) -> None:
    from transformers import AutoConfig, AutoModel

    with torch.random.fork_rng():
        model = AutoModel.from_config(AutoConfig.for_model(family, **options))
    found = named_matrices(model.state_dict())
    attention = {record.name for record in found if record.role == "attention"}
    for layer in expected:
        assert any(name.endswith(f"{layer}.weight") for name in attention), layer
    others = [name for name in attention if not any(e.rpartition(".")[2] in name for e in expected)]
    assert others == []
    outside = {record.name for record in found if record.role == "linear"}
    assert any(
        "mlp" in name or "ffn" in name or "output.dense" in name or "Dense" in name for name in outside
    )


def test_projections_are_known_by_those_beside_them() -> None:
    W = torch.eye(4)
    trio = {f"mixer.{part}_proj.weight": W for part in "qkv"}
    assert {record.role for record in named_matrices(trio)} == {"attention"}
    assert {record.role for record in named_matrices({"mixer.q_proj.weight": W})} == {"linear"}
    assert {record.role for record in named_matrices({"head.key.weight": W, "a.out.weight": W})} == {"linear"}
    assert named_matrices({"attn.to_out.0.weight": W})[0].role == "attention"


def table_of(key: str, shape: tuple[int, ...], **config: Any) -> Tensors:
    tensors = {key: stored_tensor(torch.ones(shape))}
    return Tensors("folder", tensors, {}, [], config)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (table_of("query_key_value.weight", (18, 6)), "number of heads, which the source does not tell"),
        (table_of("c_attn.weight", (10, 6)), "number of heads, which the source does not tell"),
        (table_of("qkv_proj.weight", (18, 6)), "whose order of rows differs between models"),
        (table_of("qkv_proj.weight", (18, 6), model_type="codegen", n_head=2), "differs between models"),
        (
            table_of("query_key_value.weight", (18, 6), model_type="chatglm", num_attention_heads=2),
            "of model type 'chatglm', whose order of rows is not known",
        ),
        (
            table_of("query_key_value.weight", (18, 6), num_attention_heads=4),
            "18 rows do not fall into 12 equal parts",
        ),
    ],
)
def test_fused_weights_whose_rows_are_not_known_are_listed(
    table: Tensors, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnn.weights.read_source", lambda _: table)
    found = named_matrices("folder")
    assert len(found) == 0
    ((key, why),) = found.unrecognised
    assert key in table.entries
    with pytest.raises(ValueError, match=reason):
        raise ValueError(why)


def test_grouped_queries_of_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    W = torch.arange(10.0)[:, None].repeat(1, 6)
    config = {"num_attention_heads": 8, "num_key_value_heads": 1}
    table = Tensors("folder", {"attn.Wqkv.weight": stored_tensor(W)}, {}, [], config)
    monkeypatch.setattr("rnn.weights.read_source", lambda _: table)
    found = named_matrices("folder")
    assert [record.matrix[:, 0].tolist() for record in found] == [[*map(float, range(8))], [8.0], [9.0]]
    assert found[1].origin == "folder: attn.Wqkv.weight[8:9]"


def test_fused_weights_of_convolutions_stay_whole() -> None:
    (record,) = named_matrices({"qkv.weight": torch.ones(18, 6, 1)})
    assert (record.name, record.role, record.shape) == ("qkv.weight", "convolution", (18, 6))
