"""Read real files and wrappers of trained networks, and hold every matrix against its source.

Run from the root of the repository: ``python docs/formats.py`` writes docs/formats.md, and ``--out FILE``
elsewhere. Each row of the table is one function below: it writes a file with the library that usually writes
it, or wraps a module, and says which matrices it put in. Some ten seconds. Needs
``pip install -e '.[rnn,test]'``.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.metadata
import io
import logging
import pickle
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import rnn

Matrix = NDArray[np.float64]

CLOSE = 1e-6  # of the norm of a matrix: some rounding errors of float32
LIBRARIES = ("torch", "lightning", "transformers", "safetensors", "onnx", "onnxscript", "numpy")
PAGE = """\
# What `rnn.named_matrices` reads

Each source was made by the library that usually makes it, read by `rnn.named_matrices`, and held against the
weights that were put in: the same names, none missing, none too many, and the values. No code of a file is
run. `python docs/formats.py` makes this page again from nothing; a row that no longer holds would say
**fails**.

Made with {versions}.

{table}

Recurrent and input matrices are counted gate by gate, query, key and value one by one. Vectors, such as
biases and the scales of a layer norm, are no matrices and are not listed.
"""


@dataclasses.dataclass(frozen=True)
class Example:
    """A source, and the matrices that were put into it.

    Attributes
    ----------
    source : module, mapping or path
        What `rnn.named_matrices` reads.
    written_by : str
        How it was made.
    expected : mapping of str to array
        The matrices (out, in) by name, taken from the module without rnn.
    against : str
        What they are.
    options : mapping
        Keywords for `rnn.named_matrices`.
    named : bool
        Whether the source keeps the names; if not, the values alone are held against each other, in order.
    """

    source: Any
    written_by: str
    expected: Mapping[str, Matrix]
    against: str = "the module's weights"
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    named: bool = True


class Tagger(nn.Module):
    """A small network with layers of every common kind."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.lstm = nn.LSTM(5, 4, num_layers=2, bidirectional=True, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, words: Tensor) -> Tensor:
        """Give a score for each tag at each word."""
        states, _ = self.lstm(self.embedding(words))
        return self.head(self.norm(states))


class Reader(nn.Module):
    """A recurrent layer and a linear layer that reads its last state."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Give the scores after the last step."""
        return self.head(self.layer(x)[0][:, -1])


def perceptron() -> nn.Sequential:
    """Give two linear layers."""
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).eval()


def array(tensor: Tensor) -> Matrix:
    """Give a tensor in float64."""
    return tensor.detach().cpu().double().numpy()


def weights_of(model: nn.Module) -> dict[str, Matrix]:
    """Give the matrices of torch's own layers, straight from their attributes."""
    found = {}
    for prefix, layer in model.named_modules():
        dot = f"{prefix}." if prefix else ""
        if isinstance(layer, nn.Linear):
            found[f"{dot}weight"] = array(layer.weight)
        elif isinstance(layer, nn.Embedding):
            found[f"{dot}weight"] = array(layer.weight).T
        elif isinstance(layer, (nn.RNN, nn.GRU, nn.LSTM)):
            gates = {"LSTM": "ifgo", "GRU": "rzn"}.get(layer.mode, "")
            for name in (name for names in layer._all_weights for name in names if name.startswith("weight")):
                parts = np.split(array(getattr(layer, name)), len(gates) or 1)
                brackets = [f"[{gate}]" for gate in gates] or [""]
                found |= {f"{dot}{name}{end}": part for end, part in zip(brackets, parts, strict=True)}
    return found


def state_dict(folder: Path) -> Example:
    """Write what PyTorch's manual recommends."""
    model, path = Tagger(), folder / "tagger.pt"
    torch.save(model.state_dict(), path)
    return Example(path, "`torch.save(model.state_dict())`", weights_of(model))


def legacy_state_dict(folder: Path) -> Example:
    """Write the format of torch before 1.6."""
    model, path = Tagger(), folder / "tagger.pth"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)
    return Example(path, "`torch.save(..., _use_new_zipfile_serialization=False)`", weights_of(model))


def training_checkpoint(folder: Path) -> Example:
    """Write model, Adam and schedule in one dictionary, after a step."""
    model, path = Tagger(), folder / "checkpoint.pt"
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    model(torch.arange(6)[None]).square().mean().backward()
    optimizer.step()
    schedule.step()
    content = {"epoch": 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(content | {"scheduler": schedule.state_dict()}, path)
    return Example(
        path, "`torch.save` of a dictionary with the states of model, Adam and schedule", weights_of(model)
    )


def pickled_module(folder: Path) -> Example:
    """Write a whole module."""
    model, path = Tagger(), folder / "module.pt"
    torch.save(model, path)
    return Example(path, "`torch.save(model)`", weights_of(model))


def pickled_module_of_an_unknown_class(folder: Path) -> Example:
    """Write a whole module, and remove its source code."""
    code = folder / "vanishing_code.py"
    code.write_text(
        "from torch import nn\nclass Own(nn.Module):\n    pass\nclass OwnLinear(nn.Linear):\n    pass\n"
    )
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module("vanishing_code")
    finally:
        sys.path.remove(str(folder))
    model, path = module.Own(), folder / "own.pt"
    model.layer, model.head = nn.GRU(3, 4), module.OwnLinear(4, 2)
    torch.save(model, path)
    expected = weights_of(model)
    code.unlink()
    del sys.modules["vanishing_code"]
    return Example(path, "`torch.save(model)`, classes removed afterwards", expected)


def pickled_arrays(folder: Path) -> Example:
    """Write NumPy arrays by pickle alone."""
    model, path = Reader(nn.GRU(3, 4)), folder / "weights.pkl"
    path.write_bytes(pickle.dumps({key: value.numpy() for key, value in model.state_dict().items()}))
    return Example(path, "`pickle.dump` of a dictionary of NumPy arrays", weights_of(model))


def torchscript(folder: Path) -> Example:
    """Compile to TorchScript, and save."""
    model, path = Tagger().eval(), folder / "script.pt"
    torch.jit.save(torch.jit.script(model), str(path))
    return Example(path, "`torch.jit.save(torch.jit.script(model))`", weights_of(model))


def lightning_checkpoint(folder: Path) -> Example:
    """Train two steps with a Trainer, and let it write its checkpoint."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters({"learning_rate": 1e-3})
            self.net = Tagger()

        def training_step(self, batch: Tensor, _: int) -> Tensor:
            return self.net(batch).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    quiet = dict.fromkeys(
        ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False
    )
    trainer = lightning.Trainer(accelerator="cpu", max_steps=2, default_root_dir=folder, **quiet)
    module, path = Module(), folder / "last.ckpt"
    trainer.fit(module, torch.utils.data.DataLoader(torch.randint(11, (4, 6)), batch_size=2))
    trainer.save_checkpoint(path)
    return Example(path, "`lightning.Trainer.save_checkpoint`, after `fit`", weights_of(module))


def compiled(_: Path) -> Example:
    """Wrap by torch.compile."""
    model = Tagger()
    return Example(torch.compile(model), "`torch.compile(model)`", weights_of(model))


def data_parallel(_: Path) -> Example:
    """Wrap by DataParallel."""
    model = Tagger()
    return Example(nn.DataParallel(model), "`nn.DataParallel(model)`", weights_of(model))


def wrapped_file(folder: Path) -> Example:
    """Write the state of a module in two wrappers."""
    model, path = Tagger(), folder / "wrapped.pt"
    torch.save(torch.compile(nn.DataParallel(model)).state_dict(), path)
    return Example(
        path, "`torch.save` of the state of `torch.compile(nn.DataParallel(model))`", weights_of(model)
    )


def parametrised() -> nn.Module:
    """Give a network with weight_norm, spectral_norm and an orthogonal matrix."""
    model = nn.ModuleDict({"weighed": nn.LSTM(3, 4), "spectral": nn.Linear(4, 5), "turned": nn.Linear(4, 4)})
    parametrizations.weight_norm(model["weighed"], "weight_hh_l0")
    parametrizations.spectral_norm(model["spectral"])
    parametrizations.orthogonal(model["turned"])
    return model.eval()


def live_parametrisations(_: Path) -> Example:
    """Parametrise, and read the module."""
    model = parametrised()
    how = "`torch.nn.utils.parametrizations`: `weight_norm`, `spectral_norm`, `orthogonal`"
    return Example(model, how, weights_of(model), "the weights that the layers compute")


def saved_parametrisations(folder: Path) -> Example:
    """Parametrise, and read the state dictionary alone; it does not say how an orthogonal matrix is made."""
    model, path = parametrised(), folder / "parametrised.pt"
    torch.save(model.state_dict(), path)
    expected = weights_of(model)
    del expected["turned.weight"]
    against = "the weights that the layers compute"
    return Example(path, "`torch.save` of the state of the same module", expected, against)


def hooked_norms(folder: Path) -> Example:
    """Write the state of the older weight_norm and spectral_norm, which work by hooks."""
    model, path = (
        nn.ModuleDict({"weighed": nn.Linear(3, 4), "spectral": nn.Linear(4, 5)}),
        folder / "hooks.pt",
    )
    nn.utils.weight_norm(model["weighed"])
    nn.utils.spectral_norm(model["spectral"])
    model.eval()
    model["spectral"](torch.ones(1, 4))
    torch.save(model.state_dict(), path)
    how = "`torch.save` of the state after `torch.nn.utils.weight_norm` and `spectral_norm`"
    return Example(path, how, weights_of(model), "the weights that the layers compute")


def pruned(folder: Path) -> Example:
    """Write the state of pruned layers."""
    model, path = Reader(nn.GRU(3, 4)), folder / "pruned.pt"
    prune.l1_unstructured(model.layer, "weight_hh_l0", amount=0.5)
    prune.random_unstructured(model.head, "weight", amount=0.25)
    torch.save(model.state_dict(), path)
    against = "the masked weights"
    return Example(path, "`torch.save` of the state after `torch.nn.utils.prune`", weights_of(model), against)


def quantised() -> tuple[nn.Module, dict[str, Matrix]]:
    """Quantise an LSTM and a linear layer, and give the weights that the quantised layers hold."""
    model = torch.ao.quantization.quantize_dynamic(Reader(nn.LSTM(3, 4)), {nn.LSTM, nn.Linear}, torch.qint8)
    by_input, by_state = (
        part.__getstate__()[0][0] for part in model.layer._all_weight_values[0].param.__getstate__()[0][4]
    )
    parts = {"weight_ih_l0": by_input, "weight_hh_l0": by_state}
    expected = {
        f"layer.{name}[{gate}]": block
        for name, weight in parts.items()
        for gate, block in zip("ifgo", np.split(array(weight.dequantize()), 4), strict=True)
    }
    return model, expected | {"head.weight": array(model.head.weight().dequantize())}


def live_quantised(_: Path) -> Example:
    """Read quantised layers."""
    model, expected = quantised()
    how = "`torch.ao.quantization.quantize_dynamic`, qint8"
    return Example(model, how, expected, "the layers' integers times their scales")


def saved_quantised(folder: Path) -> Example:
    """Write quantised layers."""
    (model, expected), path = quantised(), folder / "quantised.pt"
    torch.save(model.state_dict(), path)
    how = "`torch.save` of the state of the same module"
    return Example(path, how, expected, "the layers' integers times their scales")


def bfloat16(folder: Path) -> Example:
    """Write 16 bits for each weight."""
    model, path = Tagger().bfloat16(), folder / "bfloat16.pt"
    torch.save(model.state_dict(), path)
    return Example(path, "`torch.save(model.bfloat16().state_dict())`", weights_of(model))


def one_safetensors(folder: Path) -> Example:
    """Write one file in the format of Hugging Face."""
    from safetensors.torch import save_file

    model, path = Tagger(), folder / "model.safetensors"
    save_file(model.state_dict(), path)
    return Example(path, "`safetensors.torch.save_file`", weights_of(model))


def scaled_float8(folder: Path) -> Example:
    """Write 8 bits for each weight, and a scale for each row."""
    from safetensors.torch import save_file

    W, path = torch.randn(6, 4), folder / "float8.safetensors"
    scale = W.abs().amax(1) / 448  # the largest float8_e4m3fn
    codes = (W / scale[:, None]).to(torch.float8_e4m3fn)
    save_file({"head.weight": codes, "head.weight_scale": scale}, path)
    against = "the codes times their scales"
    how = "`safetensors.torch.save_file` of codes and one scale for each row"
    return Example(path, how, {"head.weight": array(codes.float() * scale[:, None])}, against)


def transformers_model(family: str, **sizes: Any) -> Any:
    """Build a small model of a family of transformers, with random weights."""
    import transformers

    config = transformers.AutoConfig.for_model(family, vocab_size=20, **sizes)
    return transformers.AutoModel.from_config(config).eval()


def of_hub(model: Any, folder: Path, matrices: Mapping[str, Matrix]) -> Example:
    """Write a model as a folder with config.json and weights."""
    model.save_pretrained(folder)
    return Example(folder, f"`transformers.{type(model).__name__}.save_pretrained`", matrices)


def gpt2(*, layers: int = 1) -> tuple[Any, dict[str, Matrix]]:
    """Give a small GPT-2, whose Conv1D layers hold (in, out), query, key and value in one."""
    model = transformers_model("gpt2", n_embd=8, n_head=2, n_layer=layers, n_positions=16)
    found = weights_of(model)  # the embeddings
    for number, block in enumerate(model.h):
        heads = zip("qkv", np.split(array(block.attn.c_attn.weight).T, 3), strict=True)
        found |= {f"h.{number}.attn.c_attn.weight[{part}]": matrix for part, matrix in heads}
        for layer in ("attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
            found[f"h.{number}.{layer}.weight"] = array(block.get_submodule(layer).weight).T
    return model, found


def gpt2_folder(folder: Path) -> Example:
    """Write a GPT-2."""
    model, found = gpt2()
    return of_hub(model, folder, found)


def shards(folder: Path) -> Example:
    """Write a model in several files with an index."""
    model, found = gpt2(layers=3)
    model.save_pretrained(folder, max_shard_size="4KB")
    count = len(list(folder.glob("model-*.safetensors")))
    assert count > 1
    return Example(folder, f"`transformers.GPT2Model.save_pretrained`, {count} files and an index", found)


def llama_folder(folder: Path) -> Example:
    """Write a Llama whose four heads share two keys and values."""
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2}
    model = transformers_model("llama", num_attention_heads=4, num_key_value_heads=2, **sizes)
    return of_hub(model, folder, weights_of(model))


def bert_folder(folder: Path) -> Example:
    """Write a BERT."""
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = transformers_model("bert", max_position_embeddings=16, **sizes)
    return of_hub(model, folder, weights_of(model))


def gpt_neox_folder(folder: Path) -> Example:
    """Write a GPT-NeoX, whose fused weights hold query, key and value head by head."""
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = transformers_model("gpt_neox", **sizes)
    found, name = weights_of(model), "layers.0.attention.query_key_value.weight"
    heads = found.pop(name).reshape(2, 3, 4, 8)  # heads, (q, k, v), rows of a head, columns
    found |= {f"{name}[{part}]": heads[:, place].reshape(8, 8) for place, part in enumerate("qkv")}
    return of_hub(model, folder, found)


def exported(model: nn.Module, folder: Path, *, dynamo: bool) -> Example:
    """Write a module as an ONNX file."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names packages that are not installed
    model.eval()
    path, x = folder / "model.onnx", torch.zeros(1, 3, 5)
    torch.onnx.export(model, (x,), str(path), dynamo=dynamo)
    return Example(path, f"`torch.onnx.export(..., dynamo={dynamo})`", weights_of(model))


def onnx_lstm(folder: Path) -> Example:
    """Export an LSTM by tracing."""
    return exported(Reader(nn.LSTM(5, 4, batch_first=True)), folder, dynamo=False)


def onnx_gru(folder: Path) -> Example:
    """Export a GRU by tracing."""
    return exported(Reader(nn.GRU(5, 4, batch_first=True)), folder, dynamo=False)


def onnx_rnn(folder: Path) -> Example:
    """Export a plain recurrent layer by tracing."""
    return exported(Reader(nn.RNN(5, 4, batch_first=True)), folder, dynamo=False)


def onnx_mlp(folder: Path) -> Example:
    """Export linear layers by tracing."""
    return exported(perceptron(), folder, dynamo=False)


def onnx_lstm_dynamo(folder: Path) -> Example:
    """Export an LSTM by torch.export."""
    return exported(Reader(nn.LSTM(5, 4, batch_first=True)), folder, dynamo=True)


def onnx_gru_dynamo(folder: Path) -> Example:
    """Export a GRU by torch.export."""
    return exported(Reader(nn.GRU(5, 4, batch_first=True)), folder, dynamo=True)


def onnx_rnn_dynamo(folder: Path) -> Example:
    """Export a plain recurrent layer by torch.export, which writes it out step by step without its name."""
    example = exported(Reader(nn.RNN(5, 4, batch_first=True)), folder, dynamo=True)
    return dataclasses.replace(example, named=False)


def onnx_mlp_dynamo(folder: Path) -> Example:
    """Export linear layers by torch.export."""
    return exported(perceptron(), folder, dynamo=True)


def npz_by_torch_names(folder: Path) -> Example:
    """Write arrays under torch's names."""
    model, path = Tagger(), folder / "tagger.npz"
    np.savez(path, **{key: value.numpy() for key, value in model.state_dict().items()})
    return Example(path, "`numpy.savez` of a state dictionary", weights_of(model))


def npz_in_out(folder: Path) -> Example:
    """Write the kernels (in, out) and biases of dense layers as Keras and Flax hold them."""
    random, path = np.random.default_rng(0), folder / "dense.npz"
    kernels = {"dense/kernel": random.normal(size=(5, 4)), "dense_1/kernel": random.normal(size=(4, 3))}
    np.savez(path, **kernels, **{"dense/bias": np.zeros(4), "dense_1/bias": np.zeros(3)})
    expected = {name: kernel.T for name, kernel in kernels.items()}
    how = '`numpy.savez` of kernels and biases; read with `orientation="in_out"`'
    return Example(path, how, expected, "the transposed kernels", {"orientation": "in_out"})


def npy(folder: Path) -> Example:
    """Write one array."""
    W, path = np.random.default_rng(0).normal(size=(6, 6)), folder / "W.npy"
    np.save(path, W)
    return Example(path, "`numpy.save`", {"W": W}, "the array")


def one_matrix(_: Path) -> Example:
    """Name one matrix."""
    W = np.random.default_rng(0).normal(size=(6, 6))
    return Example({"weight_hh": W}, "`{'weight_hh': W}`", {"weight_hh": W}, "the array")


ROWS: dict[str, Callable[[Path], Example]] = {
    "State dictionary, `.pt` (zip)": state_dict,
    "State dictionary, `.pth` (format before torch 1.6)": legacy_state_dict,
    "Training checkpoint, nested": training_checkpoint,
    "Whole module, pickled": pickled_module,
    "Whole module whose classes cannot be imported": pickled_module_of_an_unknown_class,
    "Arrays, pickled": pickled_arrays,
    "TorchScript": torchscript,
    "Lightning checkpoint, `.ckpt`": lightning_checkpoint,
    "`torch.compile`, live": compiled,
    "`nn.DataParallel`, live": data_parallel,
    "Both wrappers, in a file": wrapped_file,
    "Parametrised weights, live": live_parametrisations,
    "Parametrised weights, in a file": saved_parametrisations,
    "`weight_norm` and `spectral_norm` by hooks, in a file": hooked_norms,
    "Pruned weights, in a file": pruned,
    "Dynamic int8 LSTM and linear layer, live": live_quantised,
    "Dynamic int8 LSTM and linear layer, in a file": saved_quantised,
    "bfloat16": bfloat16,
    "safetensors": one_safetensors,
    "float8 beside scales": scaled_float8,
    "GPT-2, folder": gpt2_folder,
    "GPT-2, folder with shards": shards,
    "Llama with grouped queries, folder": llama_folder,
    "BERT, folder": bert_folder,
    "GPT-NeoX, folder": gpt_neox_folder,
    "ONNX by tracing: LSTM": onnx_lstm,
    "ONNX by tracing: GRU": onnx_gru,
    "ONNX by tracing: RNN": onnx_rnn,
    "ONNX by tracing: linear layers": onnx_mlp,
    "ONNX by torch.export: LSTM": onnx_lstm_dynamo,
    "ONNX by torch.export: GRU": onnx_gru_dynamo,
    "ONNX by torch.export: RNN, written out step by step": onnx_rnn_dynamo,
    "ONNX by torch.export: linear layers": onnx_mlp_dynamo,
    "`.npz` with torch's names": npz_by_torch_names,
    "`.npz` of (in, out) kernels": npz_in_out,
    "`.npy`": npy,
    "One matrix in memory": one_matrix,
}


def roles(found: rnn.NamedMatrices) -> str:
    """Count the matrices by their roles."""
    counts = Counter(record.role for record in found)
    return ", ".join(f"{counts[role]} {role}" for role in sorted(counts))


def reasons(found: rnn.NamedMatrices) -> str:
    """Give each reason once, with the first two entries that it stands for."""
    grouped: dict[str, list[str]] = {}
    for key, reason in found.unrecognised:
        grouped.setdefault(reason, []).append(f"`{key}`")
    texts = []
    for reason, keys in grouped.items():
        more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
        texts.append(f"{', '.join(keys[:2])}{more}: {reason}")
    return "; ".join(texts)


def checked(found: rnn.NamedMatrices, example: Example) -> str:
    """Hold names and values against what was put in."""
    names, expected = [record.name for record in found], [*example.expected]
    if example.named and sorted(names) != sorted(expected):
        missing, extra = (", ".join(sorted({*a} - {*b})) for a, b in ((expected, names), (names, expected)))
        return f"**fails**: missing {missing or 'none'}; not put in {extra or 'none'}"
    if len(names) != len(expected):
        return f"**fails**: {len(names)} matrices, where {len(expected)} were put in"
    largest = 0.0
    for record, name in zip(found, names if example.named else expected, strict=True):
        values, truth = record.matrix, example.expected[name]
        if values.shape != truth.shape:
            return f"**fails**: {record.name} has shape {values.shape}, expected {truth.shape}"
        largest = max(largest, float(np.linalg.norm(values - truth) / np.linalg.norm(truth)))
    if largest > CLOSE:
        return f"**fails**: differs from {example.against} by {largest:.1e} of the norm"
    what = "names and values" if example.named else "values, not names and roles"
    how = "bit for bit equal to" if largest == 0 else f"to {CLOSE:g} of the norm equal to"
    return f"{what}: {how} {example.against}"


def table() -> list[str]:
    """Make, read and check everything, and give the lines of the table."""
    lines = [
        "| format or wrapper | written by | matrices found | not understood | check |",
        "|---|---|---|---|---|",
    ]
    for title, make in ROWS.items():
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # progress of the writers
                example = make(Path(folder))
            found = rnn.named_matrices(example.source, **example.options)
            cells = [title, example.written_by, roles(found), reasons(found), checked(found, example)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        print(f"{len(lines) - 2:2} of {len(ROWS)}  {title}: {cells[-1]}", flush=True)
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"), help="file to write")
    options = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of the libraries that write
        lines = table()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    options.out.write_text(PAGE.format(versions=versions, table="\n".join(lines)), encoding="utf-8")


if __name__ == "__main__":
    main()
