"""Lipschitz constants of networks and their layers: proven bounds from above."""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from rnn.bounds.layer_bounds import NotLipschitzError, Shape, layer_bound, refuse_changes
from rnn.bounds.network_graphs import graph_bound, traced
from rnn.bounds.recurrent_bounds import RecurrentBound, recurrent_bound
from rnn.bounds.slopes import placed_like
from rnn.models import FeedForward, RecurrentClassifier
from rnn.motion.cells import UnrolledCell, unrolled_cells
from rnn.motion.twins import float64_twin
from spectra.checks import whole_number
from spectra.errors import UnsupportedModelError

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, slots=True)
class LayerBound:
    """Upper bound of the Lipschitz constant of one layer, in the 2-norm.

    Attributes
    ----------
    name : str
        Its name in the network.
    kind : str
        Its class.
    bound : float
        The bound, proven; inf where there is none or none is known. Of a recurrent layer: from the sequence
        of its inputs to that of its outputs.
    steps : int
        The number of steps of a recurrent layer; 0 for others.
    reason : str
        Why the bound is infinite.
    """

    name: str
    kind: str
    bound: float
    steps: int = 0
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LipschitzBounds:
    """Upper bounds of the Lipschitz constants of a network and its layers; ``float(r) == r.bound``.

    Attributes
    ----------
    layers : tuple of LayerBound
        The layers, in their order in the module.
    bound : float
        ‖f(x) − f(y)‖₂ ≤ bound · ‖x − y‖₂ for the network f.
    certified : bool
        Whether that is proven. If not, `bound` is the product of `layers`, which is right only if they are
        applied one after the other and nothing else is; inf if there are weights outside them.
    reason : str
        Why it is not certified.
    assumptions : tuple of str
        What it holds for: evaluation mode, starting states, the input meant.
    """

    layers: tuple[LayerBound, ...]
    bound: float
    certified: bool
    reason: str
    assumptions: tuple[str, ...]

    @property
    def table(self) -> pd.DataFrame:
        """The layers as a table: name, kind, bound, steps, reason."""
        import pandas as pd

        names = [field.name for field in dataclasses.fields(LayerBound)]
        return pd.DataFrame([dataclasses.astuple(layer) for layer in self.layers], columns=names)

    def __float__(self) -> float:
        """Give the bound of the network."""
        return self.bound

    def __str__(self) -> str:
        """One line."""
        how = "certified" if self.certified else f"not certified: {self.reason}"
        return f"LipschitzBounds: {self.bound:.6g} over {len(self.layers)} layers ({how})"

    __repr__ = __str__


def lipschitz_bounds(
    model: nn.Module, x: Tensor | None = None, *, steps: int | None = None
) -> LipschitzBounds:
    """Bound the Lipschitz constants of a network and its layers from above, in the 2-norm.

    Parameters
    ----------
    model : nn.Module
        The network, taken in evaluation mode. It is copied to float64.
    x : Tensor, optional
        A batch of inputs, of which only the shape counts. Without it, sums and layers whose bound depends on
        the shape have none.
    steps : int, optional
        Length of the sequences that recurrent layers see, if x is not given.

    Returns
    -------
    LipschitzBounds
        The bound of the network, from its input to its first output, and those of its layers.

    Raises
    ------
    TypeError
        If model is no module, x no tensor, or steps no whole number.
    ValueError
        If both x and steps are given, steps is below 1, the model cannot be called with x, or a weight is
        NaN or infinite.

    Notes
    -----
    ``torch.fx`` gives the graph; chains of layers multiply, sums add, what is put side by side adds in
    squares. The bounds of layers and why they hold: `rnn.bounds.layer_bounds.layer_bound`, of recurrent
    layers `rnn.bounds.recurrent_bounds.recurrent_bound`. They are for exact arithmetic, rounded up. A network
    that cannot be traced is reported as such, never certified. The true constant is smaller, for deep or
    gated networks by orders of magnitude; `local_lipschitz` bounds it from below.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Sigmoid())
    >>> with torch.no_grad():
    ...     _ = model[0].weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    >>> lipschitz_bounds(model)
    LipschitzBounds: 1 over 2 layers (certified)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
    if x is not None and not isinstance(x, Tensor):
        raise TypeError(f"x is a {type(x).__name__}; expected a tensor, a batch of inputs")
    if x is not None and steps is not None:
        raise ValueError("x and steps are both given; x says how many steps there are")
    if steps is not None:
        steps = whole_number(steps, "steps")
    twin = _plain(float64_twin(model))
    placed = None if x is None else placed_like(x, twin)
    shapes = {} if placed is None else _shapes(twin, placed)
    bounds = {name: _layer(layer, shapes.get(name), steps) for name, layer in _leaves(twin)}
    rows = tuple(_row(name, twin.get_submodule(name), *bounds[name]) for name in bounds)
    found = {f"network.{name}".removesuffix("."): bound for name, (bound, _) in bounds.items()}
    reason = ""
    try:
        whole = graph_bound(traced(twin), found, placed)
    except NotLipschitzError as error:
        whole, reason = _chain(rows, twin), str(error)
    if not reason and not math.isfinite(whole):
        reason = "the bound exceeds the largest float"
    return LipschitzBounds(rows, whole * (1 + 1e-12), not reason, reason, _assumptions(twin))


class _Unrolled(nn.Module):
    """What a `RecurrentClassifier` computes, by torch's layer where there is one."""

    def __init__(self, model: RecurrentClassifier, cell: UnrolledCell) -> None:
        super().__init__()
        self.rnn = _torch_layer(cell)
        self.head, self.each = model.head, model.config.readout == "each"

    def forward(self, x: Tensor) -> Tensor:
        output = self.rnn(x)[0]
        return self.head(output if self.each else output[:, -1])


def _torch_layer(cell: UnrolledCell) -> nn.Module:
    """Give the layer of torch with the weights of a cell; the cell itself where there is none."""
    kinds = {"tanh": nn.RNN, "relu": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
    if cell.kind not in kinds:
        return cell
    options = {"nonlinearity": cell.kind} if kinds[cell.kind] is nn.RNN else {}
    with torch.random.fork_rng(devices=[]):
        layer = kinds[cell.kind](cell.features, cell.output_size, batch_first=True, **options)
    layer.load_state_dict({f"{key}_l0": value for key, value in cell.named_parameters()})
    return layer


def _plain(twin: nn.Module) -> nn.Module:
    """Give the project's own models, which check their input, in a form that can be traced."""
    kind = type_before_parametrizations(twin)
    if kind not in {RecurrentClassifier, FeedForward} or _is_changed(twin):
        return twin
    if isinstance(twin, RecurrentClassifier):
        try:
            plain: nn.Module = _Unrolled(twin, unrolled_cells(twin)[0])
        except UnsupportedModelError:  # a cell of the user's
            return twin
    else:
        assert isinstance(twin, FeedForward)
        layers = {"flat": nn.Flatten(), "embed": twin.embed, "relu1": nn.ReLU()}
        layers |= {"hidden": twin.hidden, "relu2": nn.ReLU(), "head": twin.head}
        plain = nn.Sequential(OrderedDict(layers))
    return float64_twin(plain).to(twin.head.weight.device)


def _is_changed(model: nn.Module) -> bool:
    """Say whether hooks or methods put on a model may change what its class computes."""
    hooks = bool(model._forward_hooks or model._forward_pre_hooks)
    return hooks or any(callable(getattr(type(model), name, None)) for name in vars(model))


def _leaves(twin: nn.Module) -> list[tuple[str, nn.Module]]:
    """Give the layers: modules of ``torch.nn`` that are no mere boxes, and others without children."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in twin.named_modules():
        inside = any(not other or name.startswith(f"{other}.") for other, _ in found)
        box = isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList))
        whole = type(module).__module__.startswith("torch.nn") or not any(True for _ in module.children())
        if whole and not box and not inside:
            found.append((name, module))
    return found


def _shapes(twin: nn.Module, x: Tensor) -> dict[str, set[Shape]]:
    """Run the network and note the shapes of what its layers are called with."""
    found: dict[str, set[Shape]] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            if args and isinstance(args[0], Tensor):
                found.setdefault(name, set()).add(tuple(args[0].shape))

        return hook

    hooks = [module.register_forward_pre_hook(note(name)) for name, module in twin.named_modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            twin(x)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        text = str(error).partition("\n")[0]
        raise ValueError(
            f"model cannot be called with x of shape {tuple(x.shape)} and type {x.dtype} ({text}); pass a "
            "batch as it takes it"
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _layer(
    layer: nn.Module, shapes: set[Shape] | None, steps: int | None
) -> tuple[float | RecurrentBound | str, int]:
    """Give the bound of a layer, or the reason why there is none; and its steps if it is recurrent."""
    try:
        if not isinstance(layer, (nn.RNNBase, UnrolledCell)):
            return max(layer_bound(layer, shape) for shape in shapes or (None,)), 0
        if not isinstance(layer, UnrolledCell):
            refuse_changes(layer)
        time = 1 if layer.batch_first else 0
        longest = max([shape[time if len(shape) == 3 else 0] for shape in shapes or ()] or [steps or 0])
        if longest == 0:
            raise NotLipschitzError("its bound depends on the number of steps; pass x or steps")
        return recurrent_bound(layer, longest), longest
    except NotLipschitzError as reason:
        return str(reason), 0


def _row(name: str, layer: nn.Module, bound: float | RecurrentBound | str, steps: int) -> LayerBound:
    kind = type(layer).__name__
    if isinstance(bound, str):
        return LayerBound(name, kind, math.inf, steps, bound)
    value = bound.output if isinstance(bound, RecurrentBound) else bound
    return LayerBound(name, kind, value, steps, "" if value < math.inf else "it exceeds the largest float")


def _chain(rows: tuple[LayerBound, ...], twin: nn.Module) -> float:
    """Multiply the bounds of the layers; words are no vectors, so that embeddings do not count."""
    inside = {id(weight) for row in rows for weight in twin.get_submodule(row.name).parameters()}
    if any(id(weight) not in inside for weight in twin.parameters()):
        return math.inf  # weights of no layer, of which nothing is known
    values = [row.bound for row in rows if "takes words" not in row.reason]
    return math.inf if math.inf in values else math.prod(values)


def _assumptions(twin: nn.Module) -> tuple[str, ...]:
    kinds = {type(module) for module in twin.modules()}
    found = ["evaluation mode, exact arithmetic"]
    if any(issubclass(kind, (nn.RNNBase, UnrolledCell)) for kind in kinds):
        found.append("recurrent layers start from the state zero")
    if any(issubclass(kind, (nn.Embedding, nn.EmbeddingBag)) for kind in kinds):
        found.append("the input is what the embeddings give, all of it in one vector")
    return tuple(found)
