"""Seeded data to train on: real data from installed packages and from files, memory tasks, tasks of users."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import inspect
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from rnn.data.ecg5000 import ecg5000
from rnn.data.images import digits, mnist
from rnn.data.japanese_vowels import japanese_vowels
from rnn.data.memory_tasks import adding, copy
from rnn.data.task import IGNORED, KINDS, Task, check_structure, check_values
from spectra.checks import generator

__all__ = ["IGNORED", "KINDS", "TASKS", "Task", "load_task", "register_task", "task_names"]

Loader = Callable[..., Task]

_GROUP = "spectra.tasks"

_BUILT_IN: dict[str, Loader] = {
    "digits": digits,
    "mnist": mnist,
    "japanese-vowels": japanese_vowels,
    "ecg5000": ecg5000,
    "adding": adding,
    "copy": copy,
}
_registered: dict[str, Loader] = {}

TASKS = tuple(_BUILT_IN)


def load_task(
    name: str,
    *,
    data_root: str | os.PathLike[str] | None = None,
    rng: int | np.random.Generator = 0,
    **options: Any,
) -> Task:
    """Load a task by name; same name, seed and options, same data and split.

    Parameters
    ----------
    name : str
        One of `TASKS` below, or of a user's task (`register_task`, or an installed package with an entry
        point of the group "spectra.tasks").
    data_root : path-like, optional
        Folder of the data sets that come as files, each in a folder of its own (mnist, japanese_vowels,
        ecg5000), or of one of them. The environment variable SPECTRA_DATA when left out.
    rng : int or numpy.random.Generator
        Determines the split, or the examples of a memory task.
    **options : object
        What the task lets choose.

    Returns
    -------
    Task
        The data, on the CPU.

    Raises
    ------
    ValueError
        If the name is unknown or offered twice, a file is missing or damaged, or an option is out of range.
    TypeError
        If the task has no such option, or a user's loader gives no task.

    Notes
    -----
    ================== ============= ========= ======= ========== ======== ==================================
    name               training/test steps     feature classes    bounds   source
    ================== ============= ========= ======= ========== ======== ==================================
    "digits"           1437/360      8         8       10         [0, 1]   scikit-learn, no download
    "mnist"            60000/10000   28        28      10         [0, 1]   IDX files, plain or gzipped [1]_
    "japanese-vowels"  270/370       7 to 29   12      9          None     ``ae.train``, ``ae.test`` [2]_
    "ecg5000"          500/4500      140       1       5          None     text, .tsv, .ts or .arff [3]_
    "adding"           2000/500      50        2       1 output   [0, 1]   drawn; [4]_
    "copy"             2000/500      40        10      9 a frame  [0, 1]   drawn; [5]_
    ================== ============= ========= ======= ========== ======== ==================================

    Bounds are the range of valid inputs, from which an attack must not lead; None: there is none.

    * "digits", "mnist": an image is read row by row; grey values are divided by 16 and by 255. Without the
      training images the 10,000 test images of MNIST are split into 8000 and 2000. Options of "mnist":
      `train_size`, `test_size` (fewer examples).
    * "japanese-vowels": each coefficient is scaled to mean 0 and standard deviation 1 over the training
      frames; then utterances are padded with zeros, and `lengths_train`, `lengths_test` say where they end.
    * "ecg5000": each beat is scaled to mean 0 and standard deviation 1 in the file already. Without the test
      file the 500 beats of the training file are split into 350 and 150. Classes are very unequal (292, 177,
      10, 19, 2 of those 500): look at the balanced accuracy.
    * "adding": a number, uniform on [0, 1], and a mark in each step; answer the sum of the two marked
      numbers, one in each half. Options: `steps`, `train_size`, `test_size`, `tolerance` (0.04). Hochreiter
      and Schmidhuber call an error below 0.04 correct, in units in which that sum has the range [0, 1]
      instead of [0, 2]; `tolerance=0.08` is their criterion.
    * "copy": ten symbols out of eight, `steps` frames of which the last holds a signal, then ten frames in
      which the symbols are to be recalled in order; up to the signal the right answer is "blank", the ninth
      class. Always "blank" is right in (steps + 10)/(steps + 20) of the frames: look at the balanced
      accuracy. Options: `steps` (20), `train_size`, `test_size`.

    Every split or draw that is not official depends on `rng` alone and keeps the shares of the classes;
    ``task.note`` says in words which split it is. Missing files are named, with the folders searched and
    where to get them.

    References
    ----------
    .. [1] Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits.
    .. [2] M. Kudo, J. Toyama, M. Shimbo, Multidimensional curve classification using passing-through
       regions, Pattern Recognition Letters 20, 1999.
    .. [3] The UCR time series archive; from PhysioNet's BIDMC congestive heart failure database, chf07.
    .. [4] S. Hochreiter, J. Schmidhuber, Long short-term memory, Neural Computation 9, 1997, experiment 4.
    .. [5] M. Arjovsky, A. Shah, Y. Bengio, Unitary evolution recurrent neural networks, ICML 2016.

    Examples
    --------
    >>> load_task("digits")
    Task 'digits': 1437 training and 360 test sequences, 8 steps of 8 features, 10 classes
    >>> load_task("copy", steps=5, train_size=100, test_size=20)
    Task 'copy': 100 training and 20 test sequences, 25 steps of 10 features, 9 classes a frame
    """
    loader = _loader(name)
    random = generator(rng)
    seed = int(random.integers(2**31)) if isinstance(rng, np.random.Generator) else int(rng)
    _check_options(name, loader, options)
    task = loader(seed, data_root, **options)
    if not isinstance(task, Task):
        raise TypeError(f"the loader of task {name!r} returns {type(task).__name__}; expected an rnn.Task")
    task = dataclasses.replace(task, name=name, seed=seed, options=dict(options))
    check_structure(task)
    check_values(task)
    return task


def register_task(name: str, loader: Loader) -> None:
    """Make a user's task known to `load_task` in this process.

    Parameters
    ----------
    name : str
        A new name.
    loader : callable
        ``loader(seed, data_root, **options)`` gives a `Task`; its keyword-only parameters are the options
        that `load_task` lets pass. Name, seed and options of the task are filled in. Worker processes do not
        know it: an installed package makes it known everywhere by an entry point of the group
        "spectra.tasks".

    Raises
    ------
    TypeError
        If `name` is no string, or `loader` cannot be called.
    ValueError
        If the name is empty or taken.

    Examples
    --------
    >>> def first_digits(seed, data_root, *, size=100):
    ...     task = load_task("digits", rng=seed)
    ...     return dataclasses.replace(task, x_train=task.x_train[:size], y_train=task.y_train[:size])
    >>> register_task("first-digits", first_digits)
    >>> load_task("first-digits", size=50)
    Task 'first-digits': 50 training and 360 test sequences, 8 steps of 8 features, 10 classes
    """
    if not isinstance(name, str):
        raise TypeError(f"name is {name!r}; expected a string")
    if not callable(loader):
        raise TypeError(f"loader is {loader!r}; expected a function of (seed, data_root) that gives a Task")
    if not name.strip():
        raise ValueError(f"name is {name!r}; expected a name that is not blank")
    if name in task_names():
        raise ValueError(f"name is {name!r}, which is taken ({', '.join(task_names())}); choose another")
    _registered[name] = loader


def task_names() -> tuple[str, ...]:
    """Give the names that `load_task` knows: built in, registered, and of installed packages.

    Returns
    -------
    tuple of str
        In that order, each once.
    """
    offered = sorted(point.name for point in importlib.metadata.entry_points(group=_GROUP))
    return tuple(dict.fromkeys((*TASKS, *_registered, *offered)))


def _loader(name: str) -> Loader:
    points = [point for point in importlib.metadata.entry_points(group=_GROUP) if point.name == name]
    own = _BUILT_IN.get(name) or _registered.get(name) if isinstance(name, str) else None
    if len(points) + (own is not None) > 1:
        packages = ", ".join(sorted(f"{point.value} of {_package(point)}" for point in points))
        raise ValueError(
            f"task {name!r} is offered more than once: {'here, and by ' if own else ''}{packages}; uninstall "
            "or rename the others"
        )
    if own is not None:
        return own
    if not points:
        raise ValueError(f"name is {name!r}; expected one of {', '.join(map(repr, task_names()))}")
    try:
        loader = points[0].load()
    except Exception as error:  # whatever the import of a foreign package may raise
        raise ValueError(
            f"task {name!r}, {points[0].value} of {_package(points[0])}, cannot be imported "
            f"({type(error).__name__}: {error}); mend or uninstall that package"
        ) from error
    if not callable(loader):
        raise TypeError(f"task {name!r}: {points[0].value} is no function; expected one that gives a Task")
    return loader


def _package(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unnamed package"


def _check_options(name: str, loader: Loader, options: dict[str, Any]) -> None:
    parameters = inspect.signature(loader).parameters.values()
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters if parameter.kind == parameter.KEYWORD_ONLY]
    unknown = ", ".join(sorted(options.keys() - set(known)))
    if unknown:
        raise TypeError(f"task {name!r} has no option {unknown}; expected {', '.join(known) or 'no options'}")
