"""A network together with what it is judged on: the test set of its task, or arrays of a file."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rnn.attacking.bench import checked_bench
from rnn.reading.numpy_files import read_numpy
from rnn.reading.rebuilding import read_data, rebuilt_model, unused_entries
from rnn.reading.sources import read_source
from rnn.reading.tensors import NotUnderstoodError
from rnn.tasks import Task, load_task
from rnn.training import is_checkpoint, load_checkpoint
from spectra.checks import whole_number
from spectra.errors import UnsupportedModelError

_NAMES = ("x", "y", "lengths")
_OR_MODEL = ", or name the whole network by --model module:function"
_HOW = "write it with numpy.savez(path, x=inputs, y=labels), and lengths= if they differ"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LabelledInputs:
    """What a network is judged on.

    Attributes
    ----------
    name : str
        Where they are from, in words.
    x : Tensor, shape (N, ...)
        The inputs.
    y : Tensor
        Labels (N,), labels of frames (N, T), or targets; shape (0,) where a file holds inputs only.
    lengths : Tensor or None, shape (N,)
        Frames of each sequence; None where all have the same.
    bounds : tuple of float, or None
        Range of valid inputs, where it is known.
    tolerance : float, or None
        Regression: the largest error that is right, where it is known.
    """

    name: str
    x: Tensor
    y: Tensor
    lengths: Tensor | None = None
    bounds: tuple[float, float] | None = None
    tolerance: float | None = None

    def first(self, count: int | None) -> LabelledInputs:
        """Give the first of them.

        Parameters
        ----------
        count : int, or None
            How many; None for all.

        Returns
        -------
        LabelledInputs
            So many.

        Raises
        ------
        ValueError
            If there are not so many.
        """
        if count is None:
            return self
        whole_number(count, "examples", most=len(self.x))
        lengths = None if self.lengths is None else self.lengths[:count]
        return dataclasses.replace(self, x=self.x[:count], y=self.y[:count], lengths=lengths)


def model_and_examples(
    checkpoint: str | os.PathLike[str],
    *,
    factory: str | None = None,
    data: str | None = None,
    count: int | None = None,
    labelled: bool = True,
) -> tuple[nn.Module, LabelledInputs]:
    """Give the network of a checkpoint, and examples in its precision.

    Parameters
    ----------
    checkpoint : path-like
        Weights; see `rnn.reading.rebuilding.rebuilt_model`.
    factory : str, optional
        ``"module:function"`` that builds the network; its code is run.
    data : str, optional
        A ``.npz`` file with arrays x, y and perhaps lengths, or the name of a task; without it, the test set
        of the task that a checkpoint of ours was trained on.
    count : int, optional
        How many of the examples; the first ones.
    labelled : bool
        Whether there must be labels, so that predictions count; else `data` may be a ``.npy`` file too.

    Returns
    -------
    model : nn.Module
        In evaluation mode.
    examples : LabelledInputs
        What to judge it on.

    Raises
    ------
    ValueError
        If a file cannot be read, the parts do not fit together, or there are too few examples; or if
        predictions count, and the file holds more than the recurrent layer that can be built from it alone.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rnn import ModelConfig, TrainingConfig, build_model, save_checkpoint, train
    >>> task = load_task("digits")
    >>> model = build_model(ModelConfig("tanh", features=8, steps=8, hidden=4))
    >>> record = train(model, task, config=TrainingConfig(epochs=0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(pathlib.Path(folder, "m.pt"), model, task=task, record=record)
    ...     examples = model_and_examples(pathlib.Path(folder, "m.pt"), count=5)[1]
    >>> examples.name, examples.x.shape, examples.bounds
    ('the test set of digits', torch.Size([5, 8, 8]), (0.0, 1.0))
    """
    if data is None:
        if factory is not None:
            raise ValueError("--model is only used with --data; give both")
        model, examples = _trained(checkpoint)
    else:
        examples = read_examples(data, labelled=labelled)
        model = rebuilt_model(checkpoint, factory)
        if factory is None and labelled:
            _check_whole(checkpoint)
    weight = next((p for p in model.parameters() if p.dtype.is_floating_point), None)
    if weight is not None and examples.x.is_floating_point():
        examples = dataclasses.replace(examples, x=examples.x.to(weight.dtype))
    examples = examples.first(count)
    if len(examples.y):
        _check_fit(model, examples, bare=factory is None and not is_checkpoint(checkpoint))
    return model, examples


def read_examples(text: str, *, labelled: bool = True) -> LabelledInputs:
    """Give labelled inputs from a file, or the test set of a task.

    Parameters
    ----------
    text : str
        A ``.npz`` file with arrays x (N, ...) and y, and lengths (N,) where they differ; or the name of a
        task.
    labelled : bool
        Whether there must be labels; else a ``.npy`` file of inputs will do.

    Returns
    -------
    LabelledInputs
        The arrays in their own precision.

    Raises
    ------
    ValueError
        If it is neither, or the arrays are not these.

    Notes
    -----
    Nothing is unpickled. That labels, lengths and values make sense is checked where they are used.
    """
    path = Path(text)
    ending = path.suffix.lower()
    if not ending and not path.exists():
        read_data(text)  # refuses what is no task
        return _test_set(load_task(text))
    if ending == ".npy" and not labelled:
        return LabelledInputs(path.name, read_data(text), torch.empty(0))
    if ending != ".npz" or (path.exists() and not path.is_file()):
        reason = ", which holds inputs without labels" if ending == ".npy" else ""
        raise ValueError(f"data is {text!r}{reason}; expected a .npz file: {_HOW}")
    table = read_numpy(path)
    for name, reason in table.unrecognised:
        raise ValueError(f"data in {text}: {name} is not understood ({reason}); {_HOW}")
    strange = [name for name in table.entries if name not in _NAMES]
    missing = [name for name in _NAMES[: 2 if labelled else 1] if name not in table.entries]
    if strange or missing:
        raise ValueError(f"data in {text} hold {', '.join(table.entries)}; expected x, y, lengths: {_HOW}")
    found: dict[str, Any] = dict.fromkeys(_NAMES)
    for name, stored in table.entries.items():
        try:
            found[name] = stored.read()
        except NotUnderstoodError as reason:
            raise ValueError(f"data in {text}: {name} cannot be read ({reason}); {_HOW}") from None
    for name, part in found.items():
        if part is not None and (part.ndim == 0 or len(part) != len(found["x"]) or len(part) == 0):
            raise ValueError(
                f"data in {text}: {name} has shape {tuple(part.shape)} beside x of shape "
                f"{tuple(found['x'].shape)}; expected one row for each of at least one example"
            )
    return LabelledInputs(
        path.name, found["x"], torch.empty(0) if found["y"] is None else found["y"], found["lengths"]
    )


def _trained(checkpoint: str | os.PathLike[str]) -> tuple[nn.Module, LabelledInputs]:
    if not is_checkpoint(checkpoint):
        read_source(checkpoint)  # refuses what cannot be read at all
        raise ValueError(
            f"{checkpoint} is no checkpoint of `spectra train`, and does not say what it is to be judged on; "
            "pass --data FILE.npz, and --model MODULE:NAME where it holds more than one recurrent layer"
        )
    trained = load_checkpoint(checkpoint)
    options = getattr(trained, "task_options", {})
    return trained.model, _test_set(load_task(trained.task, rng=trained.task_seed, **options))


def _test_set(task: Task) -> LabelledInputs:
    return LabelledInputs(
        f"the test set of {task.name}",
        task.x_test,
        task.y_test,
        task.lengths_test,
        task.bounds,
        task.tolerance,
    )


def _check_whole(checkpoint: str | os.PathLike[str]) -> None:
    """Refuse a file of which the network would leave tensors aside, such as its head."""
    unused = unused_entries(checkpoint)
    if unused:
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        raise UnsupportedModelError(
            f"{checkpoint} also holds {', '.join(unused[:3])}{more} beside a recurrent layer, whose "
            "states alone are no predictions; name a function that builds the whole network by "
            "--model module:function"
        )


def _check_fit(model: nn.Module, examples: LabelledInputs, *, bare: bool) -> None:
    """Try the first example, so that what a network raises on foreign data is one line."""
    y, lengths = examples.y, None if examples.lengths is None else examples.lengths[:1]
    if not examples.x.is_floating_point() or not examples.x[:1].isfinite().all():
        return  # what uses them says what is wrong
    numbers = y.is_floating_point()
    try:
        bench = checked_bench(
            model, examples.x[:1], y[:1], None, None, sequences=True, lengths=lengths,
            tolerance=1.0 if numbers else None,
        )  # fmt: skip
    except (ValueError, TypeError):
        return  # what judges all of them says it of all
    try:
        bench.judge(bench.x)
    except (ValueError, TypeError) as error:
        if bare:
            raise type(error)(f"{error}{_OR_MODEL}") from error
        return  # as above
    except Exception as error:  # the user's own code
        first = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(
            f"the network cannot run on x of shape {tuple(examples.x.shape)} from {examples.name} ({first}); "
            f"pass the inputs it was made for by --data{_OR_MODEL if bare else ''}"
        ) from error
