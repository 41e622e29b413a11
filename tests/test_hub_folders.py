"""Folders that Hugging Face libraries save: whole, in shards, damaged, and with other files beside them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rnn.reading.sources import read_source
from rnn.weights import named_matrices
from spectra.errors import UnsupportedModelError

SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 12}
CONVOLUTIONS = {
    "conv_dim": (4, 4),
    "conv_kernel": (3, 3),
    "conv_stride": (2, 2),
    "num_feat_extract_layers": 2,
}
POSITIONS = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2LMHeadModel",
        {"n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 50300, "n_positions": 6},
    ),
    "bert": ("BertModel", SMALL | {"vocab_size": 11, "max_position_embeddings": 6}),
    "llama": ("LlamaForCausalLM", SMALL | {"num_key_value_heads": 2, "vocab_size": 11}),
    "gpt_neox": ("GPTNeoXForCausalLM", SMALL | {"vocab_size": 11}),
    "wav2vec2": ("Wav2Vec2Model", SMALL | CONVOLUTIONS | POSITIONS),
    "encodec": (
        "EncodecModel",
        {
            "num_filters": 2,
            "hidden_size": 4,
            "codebook_size": 8,
            "codebook_dim": 4,
            "upsampling_ratios": [2, 2],
        },
    ),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    from transformers.utils import logging

    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    yield
    logging.set_verbosity(before)
    if bar:
        logging.enable_progress_bar()


def tiny(name: str) -> Any:
    import transformers

    kind, options = MODELS[name]
    cls = getattr(transformers, kind)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return cls(cls.config_class(**options))


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_comes_back_tensor_by_tensor(name: str, tmp_path: Path) -> None:
    model = tiny(name)
    model.save_pretrained(tmp_path / name)
    table = read_source(tmp_path / name)
    assert table.origin == f"{name}/model.safetensors"
    assert table.config["model_type"] == name
    assert table.unrecognised == []
    state = model.state_dict()
    tied = {key for key in state if key not in table.entries}
    assert tied <= {"lm_head.weight"}
    assert table.entries.keys() <= state.keys() | {"embed_out.weight"}
    for key in table.entries.keys() & state.keys():
        assert torch.equal(table.entries[key].read(), state[key])


@pytest.mark.parametrize("name", MODELS)
def test_a_model_in_shards_is_the_same_as_in_one_file(name: str, tmp_path: Path) -> None:
    model = tiny(name)
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size="2KB")
    index = tmp_path / "many" / "model.safetensors.index.json"
    assert len(set(json.loads(index.read_text())["weight_map"].values())) > 1
    one = read_source(tmp_path / "one")
    for source in (tmp_path / "many", index):
        many = read_source(source)
        assert many.unrecognised == []
        assert many.config == one.config
        assert many.kinds == one.kinds
        assert many.entries.keys() == one.entries.keys()
        for key, stored in many.entries.items():
            assert torch.equal(stored.read(), one.entries[key].read())
            assert (tmp_path / "many" / stored.where).is_file()


def test_matrices_of_gpt2_act_as_its_layers_do(tmp_path: Path) -> None:
    model = tiny("gpt2").double()
    model.save_pretrained(tmp_path)
    found = {m.name: m.matrix for m in named_matrices(tmp_path)}
    layer, x = model.transformer.h[1].mlp.c_fc, np.random.default_rng(0).normal(size=8)
    ours = found["transformer.h.1.mlp.c_fc.weight"] @ x + layer.bias.detach().numpy()
    np.testing.assert_allclose(ours, layer(torch.from_numpy(x)).detach().numpy(), rtol=1e-12)
    assert found["transformer.wte.weight"].shape == (8, 50300)
    assert found["transformer.wpe.weight"].shape == (8, 6)


def test_a_lone_file_knows_the_description_beside_it(tmp_path: Path) -> None:
    tiny("gpt2").save_pretrained(tmp_path)
    file, folder = named_matrices(tmp_path / "model.safetensors"), named_matrices(tmp_path)
    assert [(m.name, m.role, m.matrix.shape) for m in file] == [
        (m.name, m.role, m.matrix.shape) for m in folder
    ]


def test_the_head_of_gpt_neox_is_linear(tmp_path: Path) -> None:
    tiny("gpt_neox").save_pretrained(tmp_path)
    (head,) = (m for m in named_matrices(tmp_path) if m.name in {"embed_out.weight", "lm_head.weight"})
    assert (head.role, head.matrix.shape) == ("linear", (11, 8))


def test_matrices_of_an_lstm_in_a_folder_are_those_of_the_module(tmp_path: Path) -> None:
    model = tiny("encodec")
    model.save_pretrained(tmp_path)
    ours = {m.name: m.matrix for m in named_matrices(tmp_path) if m.role == "recurrent"}
    theirs = {m.name: m.matrix for m in named_matrices(model) if m.role == "recurrent"}
    assert ours.keys() == theirs.keys()
    assert len(ours) == 16
    for name, matrix in ours.items():
        np.testing.assert_array_equal(matrix, theirs[name])


def linear_shards(folder: Path, index: bool = True) -> dict[str, str]:
    """Write a model of three layers in three shards."""
    places = {}
    for k in range(3):
        name = f"model-0000{k + 1}-of-00003.safetensors"
        save_file({f"layer{k}.weight": torch.full((2, 2), float(k))}, folder / name)
        places[f"layer{k}.weight"] = name
    if index:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return places


def test_shards_that_are_missing_or_damaged_are_listed(tmp_path: Path) -> None:
    places = linear_shards(tmp_path)
    (tmp_path / places["layer0.weight"]).unlink()
    damaged = tmp_path / places["layer2.weight"]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    found = named_matrices(tmp_path)
    assert [m.name for m in found] == ["layer1.weight"]
    assert found.unrecognised[0] == ("layer0.weight", f"'{places['layer0.weight']}' is missing")
    assert found.unrecognised[1][0] == "layer2.weight"
    assert "no readable .safetensors file" in found.unrecognised[1][1]
    damaged.unlink()
    (tmp_path / places["layer1.weight"]).unlink()
    with pytest.raises(
        ValueError, match=r"no shard can be read \('model-00001-of-00003\.safetensors' is missing"
    ):
        named_matrices(tmp_path)


def test_an_index_that_does_not_fit_its_shards_is_no_reason_to_stop(tmp_path: Path) -> None:
    places = linear_shards(tmp_path)
    places["absent.weight"] = places["layer0.weight"]
    del places["layer1.weight"]
    places["bias"] = places["layer2.weight"].replace("3-of", "2-of")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    found = named_matrices(tmp_path)
    assert [m.name for m in found] == ["layer0.weight", "layer2.weight"]
    second = "model-00002-of-00003.safetensors"
    assert found.unrecognised == [
        ("absent.weight", "not in model-00001-of-00003.safetensors, where the index places it"),
        ("bias", f"not in {second}, where the index places it"),
        ("layer1.weight", f"stands in {second} too; not read from there"),
    ]


@pytest.mark.parametrize(
    "name", ["../other.safetensors", "/etc/passwd", "..\\other.safetensors", "link.safetensors"]
)
def test_an_index_does_not_lead_out_of_its_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"secret.weight": torch.eye(2)}, tmp_path / "other.safetensors")
    (folder / "link.safetensors").symlink_to(tmp_path / "other.safetensors")
    places = linear_shards(folder) | {"secret.weight": name}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    found = named_matrices(folder)
    assert [m.name for m in found] == [f"layer{k}.weight" for k in range(3)]
    reasons = [reason for key, reason in found.unrecognised if key == "secret.weight"]
    assert len(reasons) == 1
    assert "leads outside its folder" in reasons[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no readable JSON"),
        ("[]", "holds a list"),
        ("{}", "has no 'weight_map'"),
        ('{"weight_map": {}}', "has no 'weight_map'"),
        ('{"weight_map": ["a"]}', "has no 'weight_map'"),
        ('{"weight_map": {"a": 3}}', "no shard can be read"),
        ('{"weight_map": {"a": "config.json"}}', "has a suffix that is not read"),
    ],
)
def test_a_damaged_index_is_refused(content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(content)
    for source in (tmp_path, tmp_path / "model.safetensors.index.json"):
        with pytest.raises(ValueError, match=reason):
            named_matrices(source)


def test_shards_without_an_index_are_joined_and_counted(tmp_path: Path) -> None:
    places = linear_shards(tmp_path, index=False)
    assert [m.name for m in named_matrices(tmp_path)] == list(places)
    assert named_matrices(tmp_path).unrecognised == []
    (tmp_path / places["layer1.weight"]).unlink()
    (tmp_path / places["layer2.weight"]).write_bytes(b"")
    found = named_matrices(tmp_path)
    assert [m.name for m in found] == ["layer0.weight"]
    assert [key for key, _ in found.unrecognised] == [places["layer2.weight"], "1 of 3 shards"]


def test_eight_bits_are_multiplied_by_a_scale_in_another_shard(tmp_path: Path) -> None:
    save_file({"a.weight": torch.eye(2).to(torch.float8_e4m3fn)}, tmp_path / "m-00001-of-00002.safetensors")
    save_file(
        {"a.weight_scale": torch.tensor([0.5]), "b.weight": torch.eye(2)},
        tmp_path / "m-00002-of-00002.safetensors",
    )
    found = named_matrices(tmp_path)
    assert {m.name: m.matrix.tolist() for m in found} == {
        "a.weight": [[0.5, 0.0], [0.0, 0.5]],
        "b.weight": [[1.0, 0.0], [0.0, 1.0]],
    }
    assert found.unrecognised == []


def test_old_shards_of_torch_are_read(tmp_path: Path) -> None:
    places = {}
    for k in range(2):
        places[f"layer{k}.weight"] = f"pytorch_model-0000{k + 1}-of-00002.bin"
        torch.save({f"layer{k}.weight": torch.eye(2) * k}, tmp_path / places[f"layer{k}.weight"])
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    found = named_matrices(tmp_path)
    assert [m.name for m in found] == list(places)
    assert found.unrecognised == []


def test_every_other_file_of_weights_is_listed(tmp_path: Path) -> None:
    save_file({"a.weight": torch.eye(2)}, tmp_path / "model.safetensors")
    for name in ("pytorch_model.bin", "optimizer.pt", "training_args.bin", "rng_state_0.pth", "tf_model.h5"):
        (tmp_path / name).write_bytes(b"x")
    save_file({"b.weight": torch.eye(2)}, tmp_path / "adapter_model.safetensors")
    for name in ("vocab.json", "tokenizer.model", "README.md"):
        (tmp_path / name).write_bytes(b"x")
    found = named_matrices(tmp_path)
    assert [m.name for m in found] == ["a.weight"]
    other = "not read: model.safetensors is; to read this one, pass the file itself"
    assert dict(found.unrecognised) == {
        "adapter_model.safetensors": other,
        "pytorch_model.bin": other,
        "optimizer.pt": "state of training, not weights",
        "training_args.bin": "state of training, not weights",
        "rng_state_0.pth": "state of training, not weights",
        "tf_model.h5": "not read: .h5 files are not understood, model.safetensors is read",
    }


def test_an_adapter_alone_is_read_with_its_description(tmp_path: Path) -> None:
    save_file({"m.lora_A.weight": torch.ones(2, 4)}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"r": 2}')
    assert read_source(tmp_path).config == {"r": 2}
    assert [m.name for m in named_matrices(tmp_path)] == ["m.lora_A.weight"]


@pytest.mark.parametrize("name", ["weights.pt", "last.pth", "W.npz", "my.safetensors", "epoch=3.ckpt"])
def test_the_only_file_of_weights_is_read(name: str, tmp_path: Path) -> None:
    suffix = Path(name).suffix
    if suffix == ".npz":
        np.savez(tmp_path / name, weight=np.eye(2))
    elif suffix == ".safetensors":
        save_file({"weight": torch.eye(2)}, tmp_path / name)
    else:
        torch.save({"weight": torch.eye(2)}, tmp_path / name)
    if suffix != ".npz":
        np.save(tmp_path / "mean.npy", np.eye(3))
    (tmp_path / "optimizer.pt").write_bytes(b"x")
    found = named_matrices(tmp_path)
    assert [m.name for m in found] == ["weight"]
    assert {key for key, _ in found.unrecognised} == {"optimizer.pt"} | (
        {"mean.npy"} if suffix != ".npz" else set()
    )


def test_several_files_without_a_standard_name_are_not_chosen_from(tmp_path: Path) -> None:
    for k in range(7):
        torch.save(nn.Linear(2, 2).state_dict(), tmp_path / f"epoch{k}.pt")
    with pytest.raises(
        UnsupportedModelError,
        match=r"holds 7 models, none of a standard name \(epoch0\.pt, .*epoch4\.pt\); pass",
    ):
        named_matrices(tmp_path)


@pytest.mark.parametrize(
    ("names", "listed"), [([], "nothing of the kind"), (["a.txt", "m.h5", "optimizer.pt"], "m.h5, op")]
)
def test_a_folder_without_weights_says_what_is_expected(
    names: list[str], listed: str, tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(
        UnsupportedModelError, match=rf"without weights .* \(it holds {listed}.*model\.safetensors, "
    ):
        named_matrices(tmp_path)


@pytest.mark.parametrize("content", ["", "[1]", "{", "[" * 10_000])
def test_a_damaged_description_is_listed_and_the_weights_are_read(content: str, tmp_path: Path) -> None:
    save_file({"a.weight": torch.eye(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(content)
    found = named_matrices(tmp_path)
    assert [m.name for m in found] == ["a.weight"]
    assert [key for key, _ in found.unrecognised] == ["config.json"]


def test_weights_that_are_a_link_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    save_file({"a.weight": torch.eye(2)}, tmp_path / "other.safetensors")
    (tmp_path / "model" / "model.safetensors").symlink_to(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"is a link that leads outside .*; pass the file itself"):
        named_matrices(tmp_path / "model")
    assert [m.name for m in named_matrices(tmp_path / "model" / "model.safetensors")] == ["a.weight"]


def test_a_snapshot_in_the_cache_is_read_through_its_links(tmp_path: Path) -> None:
    model = tmp_path / "models--a--b"
    (model / "blobs").mkdir(parents=True)
    (model / "snapshots" / "0").mkdir(parents=True)
    tiny("gpt2").save_pretrained(tmp_path / "saved")
    for k, name in enumerate(("config.json", "model.safetensors")):
        (tmp_path / "saved" / name).rename(model / "blobs" / str(k))
        (model / "snapshots" / "0" / name).symlink_to(f"../../blobs/{k}")
    table = read_source(model / "snapshots" / "0")
    assert table.config["model_type"] == "gpt2"
    assert table.unrecognised == []


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", denied)
    with pytest.raises(ValueError, match=r"cannot be opened \(Permission denied\)"):
        read_source(tmp_path)
