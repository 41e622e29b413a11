"""Whole modules that stand in a file, pickled or as TorchScript: their tensors, named as in state_dict()."""

from __future__ import annotations

import re
from typing import Any

from rnn.reading.layer_kinds import kind_of_name
from rnn.reading.packed import unpacked
from rnn.reading.packed_notes import CUSTOM, is_packed, weights_of_note
from rnn.reading.pickle_machine import Made, Refused, one_line
from rnn.reading.tensors import Stored

DEEPEST = 100  # modules within each other that are still opened
MOST_MODULES = 100_000
_SCRIPT = "__torch__."


def is_module(value: Any) -> bool:
    """Tell whether a note describes a module.

    Parameters
    ----------
    value : object
        Anything that a pickle holds.

    Returns
    -------
    bool
        Whether it is one.
    """
    return isinstance(value, Made) and _parts(value) is not None


def entries_of_module(made: Made) -> tuple[dict[str, Any], dict[str, str], list[tuple[str, str]]]:
    """Give what ``state_dict()`` of a module would give, without the module.

    Parameters
    ----------
    made : Made
        The note of a module.

    Returns
    -------
    entries : dict
        `Stored`, `Refused` and packed values by name.
    kinds : dict of str to str
        The kinds of its weights, by the names of the classes.
    unrecognised : list of (str, str)
        What else holds tensors, each with the reason.

    Notes
    -----
    Pickled modules keep their tensors in ``_parameters`` and ``_buffers``, TorchScript ones as attributes.
    Compiled modules begin with ``_orig_mod.`` as their state_dict does; graph modules are opened as well.
    """
    entries: dict[str, Any] = {}
    kinds: dict[str, str] = {}
    listed: list[tuple[str, str]] = []
    directions: dict[str, int] = {}
    waiting: list[tuple[str, Made, tuple[Made, ...]]] = [("", made, ())]
    for _ in range(MOST_MODULES):
        if not waiting:
            break
        prefix, module, above = waiting.pop()
        parts = _parts(module)
        if parts is None:
            listed.append(
                (prefix[:-1], f"the layer {module.maker} keeps its weights in a way that is not read yet")
            )
        elif any(module is one for one in above) or len(above) > DEEPEST or len(prefix) > 10_000:
            listed.append((prefix[:-1], "modules within modules without end"))
        else:
            tensors, modules, others = parts
            if kind := _kind(module):
                kinds[f"{prefix}weight"] = kind
            if (ways := _directions(module)) is not None:
                directions[prefix] = ways
            entries |= {prefix + one_line(key): value for key, value in tensors.items()}
            listed += [(prefix + key, reason) for key, reason in others]
            waiting += [
                (f"{prefix}{one_line(key)}.", child, (*above, module))
                for key, child in reversed(modules.items())
            ]
    if waiting:
        listed.append((waiting[-1][0][:-1], f"more than {MOST_MODULES} modules; the rest is not read"))
    opened, packed = unpacked(entries, directions, weights_of=weights_of_note)
    return dict(opened), kinds, listed + packed


def _directions(made: Made) -> int | None:
    state = made.state if isinstance(made.state, dict) else {}
    two = state.get("bidirectional")
    return (2 if two else 1) if isinstance(two, bool) else None


Parts = tuple[dict[Any, Any], dict[Any, Made], list[tuple[str, str]]]


def _parts(made: Made) -> Parts | None:
    """Give tensors, modules and what else there is, or nothing where it is no module."""
    state = made.state[0] if isinstance(made.state, tuple) and made.state else made.state
    if made.maker == "torch._dynamo.eval_frame.OptimizedModule" and made.arguments:
        state = {"_parameters": {}, "_modules": {"_orig_mod": made.arguments[0]}}
    elif made.maker.startswith("torch.fx.") and made.arguments:
        state = made.arguments[0]
    if not isinstance(state, dict):
        return _convolution_parts(made)
    if made.maker.startswith(_SCRIPT):
        return _script_parts(state) if not made.maker.startswith(CUSTOM) else None
    if not all(isinstance(state.get(name), dict) for name in ("_parameters", "_modules")):
        return None
    transient = state.get("_non_persistent_buffers_set")
    buffers = state.get("_buffers")
    kept = {
        key: value
        for key, value in (buffers.items() if isinstance(buffers, dict) else ())
        if not (isinstance(transient, (list, tuple)) and key in transient)
    }
    packed = {key: value for key, value in state.items() if is_packed(value)}
    tensors = {**state["_parameters"], **kept, **packed}
    modules = {key: value for key, value in state["_modules"].items() if isinstance(value, Made)}
    return {key: value for key, value in tensors.items() if value is not None}, modules, []


def _convolution_parts(made: Made) -> Parts | None:
    """Find the weight in the row of values that a quantised convolution of torch.ao is pickled as."""
    if not re.search(r"\.quantized\..*Conv[123]d$", made.maker) or not isinstance(made.state, tuple):
        return None
    weights = [one for one in made.state[:50] if isinstance(one, Stored) and len(one.shape) > 2]
    return ({"weight": weights[0]}, {}, []) if len(weights) == 1 else None


def _script_parts(state: dict[Any, Any]) -> Parts:
    tensors: dict[Any, Any] = {}
    modules: dict[Any, Made] = {}
    others = []
    named = {id(value) for value in state.values()}
    for key, value in state.items():
        if isinstance(value, (Stored, Refused)) or is_packed(value):
            tensors[key] = value
        elif isinstance(value, Made):
            modules[key] = value
        elif isinstance(value, (list, tuple)) and any(
            isinstance(one, Stored) and id(one) not in named for one in value[:1000]
        ):
            others.append((one_line(key), "a list of tensors without names"))
    return tensors, modules, others


def _kind(made: Made) -> str:
    state = made.state if isinstance(made.state, dict) else {}
    if made.maker.startswith(_SCRIPT) and kind_of_name(made.maker).startswith("transposed conv"):
        return "! the groups of a transposed convolution stand in the code of the file, which is not read"
    groups = state.get("groups", 1)
    return kind_of_name(made.maker, groups=groups if isinstance(groups, int) else 1)
