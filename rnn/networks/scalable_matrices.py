"""Where a network keeps its recurrent matrices, free or constrained, so that they can be scaled in place."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rnn.networks.feed_forward import FeedForward
from rnn.networks.parametrizations import Orthogonal, SchurFactors, SkewMixture
from spectra.errors import UnsupportedModelError

Floats = NDArray[np.float64]

_RECURRENT = re.compile(r"weight_hh(?:_l\d+(?:_reverse)?)?")
_WRAPPERS = re.compile(r"(?:(?<=^)|(?<=\.))(?:module|_orig_mod)\.")
_GATES = {1: ("",), 3: ("[r]", "[z]", "[n]"), 4: ("[i]", "[f]", "[g]", "[o]")}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ScalableMatrix:
    """One square recurrent matrix in the place where a network keeps it.

    Attributes
    ----------
    name : str
        As `rnn.named_matrices` calls it.
    read : callable
        Gives it, as the network uses it.
    scale : callable
        ``scale(factor)`` multiplies it in place, or the free part of a constrained one.
    held : float
        γ of the part −γI that cannot be scaled.
    """

    name: str
    read: Callable[[], Tensor]
    scale: Callable[[float], object]
    held: float = 0.0

    def values(self) -> Floats:
        """Give it in float64.

        Returns
        -------
        ndarray, shape (h, h)
            The numbers.

        Raises
        ------
        ValueError
            If one of them is NaN or infinite.
        """
        found = self.read().detach().to("cpu", torch.float64).numpy()
        if not np.isfinite(found).all():
            raise ValueError(
                f"{self.name} has NaN or infinite entries; train again with a smaller learning rate"
            )
        return np.asarray(found)


def scalable_matrices(model: nn.Module) -> Iterator[ScalableMatrix]:
    """Give the recurrent matrices of a network, gate by gate, to be scaled where they are.

    Parameters
    ----------
    model : nn.Module
        A network with recurrent weights under torch's names, or `FeedForward`.

    Yields
    ------
    ScalableMatrix
        Views of its parameters.

    Raises
    ------
    UnsupportedModelError
        If a matrix cannot be scaled, because of a projection or of a constraint.
    """
    for prefix, module in model.named_modules():
        place = _WRAPPERS.sub("", f"{prefix}." if prefix else "")
        if isinstance(module, FeedForward):
            yield from _whole_matrix(module.hidden, "weight", f"{place}hidden.weight")
        names = [name for name, _ in module.named_parameters(recurse=False)]
        if parametrize.is_parametrized(module):
            assert isinstance(module.parametrizations, nn.ModuleDict)
            names += module.parametrizations
        for name in filter(_RECURRENT.fullmatch, names):
            yield from _whole_matrix(module, name, place + name)


def _whole_matrix(module: nn.Module, name: str, title: str) -> Iterator[ScalableMatrix]:
    """Give the square matrices that are stacked in one tensor."""
    if parametrize.is_parametrized(module, name):
        yield _constrained(module, name, title)
        return
    weight = getattr(module, name)
    rows, columns = weight.shape
    if getattr(module, name.replace("weight_hh", "weight_hr"), weight) is not weight:
        raise UnsupportedModelError(
            f"{title} is used together with a projection weight_hr, so that none of its gates is square; "
            "normalised takes layers without proj_size"
        )
    numbers = range(rows // columns)
    gates = _GATES.get(len(numbers), tuple(f"[{number}]" for number in numbers))
    for gate, part in zip(gates, weight.detach().split(columns), strict=True):
        yield ScalableMatrix(title + gate, part.detach, part.mul_)


def _constrained(module: nn.Module, name: str, title: str) -> ScalableMatrix:
    assert isinstance(module.parametrizations, nn.ModuleDict)
    chain = module.parametrizations[name]
    assert isinstance(chain, parametrize.ParametrizationList)
    link = chain[0]
    if len(chain) > 1 or not isinstance(link, (SkewMixture, SchurFactors)):
        known = isinstance(link, Orthogonal)
        reason = "which has radius and norm 1 whatever its weights" if known else "which is not understood"
        raise UnsupportedModelError(
            f"{title} is computed by {type(link).__name__}, {reason}, so that it takes no scaling; leave it "
            "out, or take the constraint off by torch.nn.utils.parametrize.remove_parametrizations"
        )
    free = chain.original
    assert isinstance(free, Tensor)
    held = float(link.gamma) if isinstance(link, SkewMixture) else 0.0
    return ScalableMatrix(title, lambda: getattr(module, name), lambda factor: link.scale(free, factor), held)
