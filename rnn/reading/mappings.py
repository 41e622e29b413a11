"""Dictionaries within dictionaries, of the caller or of a file, as one flat table of tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnn.reading.modules import tensors_of_module
from rnn.reading.packed import unpacked
from rnn.reading.packed_notes import weights_of_note
from rnn.reading.pickle_machine import Global, Made, Refused, one_line
from rnn.reading.pickled_arrays import ARRAY, stored_array
from rnn.reading.pickled_modules import entries_of_module, is_module
from rnn.reading.tensors import NotUnderstoodError, Stored, Tensors, stored_tensor

DEEPEST = 100  # dictionaries within each other that are still opened
MOST_LETTERS = 20_000_000  # of all names: dictionaries that share others can name the same tensor without end
_ENDLESS = "dictionaries within dictionaries without end"
_NO_NAMES = "a list of tensors without names; pass them in a dictionary"
_OPTIMISER = re.compile("optim|scheduler|scaler")
_PLAIN = (str, bytes, int, float, complex, type(None), Global)
_UNDERSTOOD = re.compile(
    r"(datetime|pathlib|uuid|decimal|fractions|enum|torch\._dynamo|torch\.fx)\."
    r"|torch\.(device|Generator|torch_version\.TorchVersion)$"
    r"|(argparse\.Namespace|types\.SimpleNamespace|collections\.\w+|_codecs\.encode|numpy\.dtype)$"
    r"|builtins\.(object|range|slice)$|.*\.AttributeDict$"
)


def tensors_of_mapping(content: Mapping[Any, Any], origin: str) -> Tensors:
    """Give the tensors of dictionaries within dictionaries by name.

    Parameters
    ----------
    content : mapping
        A state_dict, or anything that holds some: tensors, arrays, modules, `Stored`, and the notes of
        `rnn.reading.pickles`, in dictionaries, lists and objects.
    origin : str
        Where it comes from.

    Returns
    -------
    Tensors
        A name begins with the keys of the dictionaries around, unless all tensors of more than one number
        stand in one dictionary. States of optimisers, tensors in lists without names, and what cannot be read
        are listed as unrecognised.

    Examples
    --------
    >>> state = {"epoch": 3, "model": {"weight": torch.eye(2)}, "optimizer": {"param_groups": []}}
    >>> table = tensors_of_mapping(state, "state_dict")
    >>> list(table.entries), table.unrecognised
    (['weight'], [('optimizer', 'state of an optimiser or scheduler, not weights')])
    """
    walk = _Walk()
    try:
        walk.opened(content, "")
    except _EndlessError:
        walk.unrecognised.append(("", f"{_ENDLESS}; what came first is read"))
    return walk.table(origin)


def is_understood(maker: str) -> bool:
    """Tell whether objects of a class are known to be plain data, no weights.

    Parameters
    ----------
    maker : str
        Module and class.

    Returns
    -------
    bool
        Whether nothing needs to be said about them.
    """
    return _UNDERSTOOD.match(maker) is not None


class _EndlessError(Exception):
    pass


class _Walk:
    """What was found so far, by the path of the dictionary around it."""

    def __init__(self) -> None:
        self.groups: dict[str, dict[str, Stored]] = {}
        self.kinds: dict[tuple[str, str], str] = {}
        self.unrecognised: list[tuple[str, str]] = []
        self.above: list[Any] = []
        self.letters = 0
        self.chosen: dict[int, tuple[Any, list[tuple[str, Any]]]] = {}

    def table(self, origin: str) -> Tensors:
        """Name what was found."""
        large = [p for p, group in self.groups.items() if any(stored.shape for stored in group.values())]
        paths = large or list(self.groups)
        alone = paths[0] if len(paths) == 1 else None
        places = [(path, key) for path, group in self.groups.items() for key in group]
        names = {(path, key): key if path == alone else path + key for path, key in places}
        if len(set(names.values())) < len(names):
            names = {(path, key): path + key for path, key in places}
        entries = {name: self.groups[path][key] for (path, key), name in names.items()}
        kinds = {names[place]: kind for place, kind in self.kinds.items() if place in names}
        return Tensors(origin, entries, kinds, self.unrecognised)

    def opened(self, content: Any, path: str) -> None:
        """Walk a dictionary, list or object, unless it stands within itself."""
        if len(self.above) > DEEPEST or any(content is one for one in self.above):
            self.unrecognised.append((path[:-1], _ENDLESS))
            return
        self.above.append(content)
        for key, value in self.members(content, path):
            self.letters += len(path) + len(key) + 16
            if self.letters > MOST_LETTERS:
                raise _EndlessError
            self.entry(path, key, value)
        self.above.pop()

    def members(self, content: Any, path: str) -> list[tuple[str, Any]]:
        """Give what may hold tensors, found once for each object however often it is shared."""
        if id(content) not in self.chosen:
            pairs: Iterable[tuple[Any, Any]]
            if isinstance(content, Mapping):
                opened, listed = unpacked(content, weights_of=weights_of_note)
                self.unrecognised += [(path + key, reason) for key, reason in listed]
                pairs = opened.items()
            else:
                pairs = _pairs_of_object(content) if isinstance(content, Made) else enumerate(content)
            kept = [(_name(key), value) for key, value in pairs if not isinstance(value, _PLAIN)]
            self.chosen[id(content)] = (content, kept)
        return self.chosen[id(content)][1]

    def entry(self, path: str, key: str, value: Any) -> None:
        """Take one value: keep a tensor, open what may hold some, list what cannot be read."""
        if isinstance(value, np.ndarray) and value.dtype.kind in "iufcb":
            value = torch.from_numpy(np.ascontiguousarray(value))
        if isinstance(value, Tensor):
            value = stored_tensor(value)
        elif isinstance(value, Made) and value.maker == ARRAY:
            value = _array(value)
        if isinstance(value, Stored):
            self.groups.setdefault(path, {})[key] = value
        elif isinstance(value, (np.ndarray, Refused)):
            no_numbers = f"an array of dtype {getattr(value, 'dtype', '')}, not of numbers"
            reason = value.reason if isinstance(value, Refused) else no_numbers
            self.unrecognised.append((path + key, reason))
        elif _is_optimiser(key, value):
            self.unrecognised.append((path + key, "state of an optimiser or scheduler, not weights"))
        elif isinstance(value, nn.Module) or is_module(value):
            self.module(value, f"{path}{key}.")
        elif isinstance(value, Made):
            self.object(value, path, key)
        elif isinstance(value, (list, tuple)) and any(
            isinstance(one, (Tensor, np.ndarray, Stored)) for _, one in self.members(value, path)
        ):
            self.unrecognised.append((path + key, _NO_NAMES))
        elif isinstance(value, (Mapping, list, tuple)):
            self.opened(value, f"{path}{key}.")

    def module(self, value: Any, path: str) -> None:
        """Take the tensors of a module, live or noted."""
        if isinstance(value, nn.Module):
            table = tensors_of_module(value)
            entries, kinds, listed = table.entries, table.kinds, table.unrecognised
        else:
            entries, kinds, listed = entries_of_module(value)
        self.unrecognised += [(path + key, reason) for key, reason in listed]
        self.kinds |= {(path, key): kind for key, kind in kinds.items()}
        for key, stored in entries.items():
            self.letters += len(path) + len(key)
            self.entry(path, key, stored)

    def object(self, made: Made, path: str, key: str) -> None:
        """Look for tensors in an object that is not made, and say what it is if there are none."""
        if made.called and not (made.state or made.pairs or is_understood(made.maker)):
            self.unrecognised.append((path + key, f"made by a call of {made.maker}, which is not run"))
            return
        before = len(self.unrecognised), sum(map(len, self.groups.values()))
        self.opened(made, f"{path}{key}.")
        after = len(self.unrecognised), sum(map(len, self.groups.values()))
        if before == after and not is_understood(made.maker):
            self.unrecognised.append((path + key, f"an object of class {made.maker} without tensors"))


def _array(made: Made) -> Stored | Refused:
    try:
        return stored_array(made)
    except NotUnderstoodError as reason:
        return Refused(str(reason))


def _name(key: object) -> str:
    name = key if isinstance(key, str) else str(key)
    return name if len(name) < 1000 and name.isprintable() else one_line(name, 1000)


def _is_optimiser(key: str, value: Any) -> bool:
    if isinstance(value, Made):
        state = value.state if isinstance(value.state, dict) else {}
        return "param_groups" in state or bool(_OPTIMISER.search(key.lower()))
    if isinstance(value, Mapping):
        return "param_groups" in value or bool(_OPTIMISER.search(key.lower()))
    return isinstance(value, (list, tuple)) and bool(value) and bool(_OPTIMISER.search(key.lower()))


def _pairs_of_object(made: Made) -> list[tuple[Any, Any]]:
    """Give attributes, entries and elements of an object."""
    states = made.state if isinstance(made.state, tuple) else (made.state,)
    found = [*made.pairs.items(), *enumerate(made.items)]
    for state in states[:2]:
        found += state.items() if isinstance(state, dict) else []
    for pairs in made.arguments[:1] if made.maker == "collections.OrderedDict" else ():
        found += [(pair[0], pair[1]) for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2]
    return found
