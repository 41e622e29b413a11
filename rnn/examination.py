"""The diagnosis of a trained network from end to end: its matrices measured, and what was found."""

from __future__ import annotations

import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from torch import nn

from rnn.details import LARGEST, MatrixDetail, matrix_detail
from rnn.diagnosis import COLUMNS, Diagnosis
from rnn.findings import LEVELS, Finding, carries_state, matrix_findings
from rnn.measuring.measures import EPSILON
from rnn.motion.network_dynamics import examined, subject
from rnn.weights import NamedMatrices, NamedMatrix, named_matrices
from spectra.checks import callback, positive, whole_number
from spectra.errors import AccuracyWarning
from spectra.threads import Progress, available_threads, one_blas_thread

_SAME = 0.01  # relative difference of weights that a format of few bits can make


def diagnose(
    source: Any,
    *,
    data: Any = None,
    model: nn.Module | None = None,
    epsilon: float = EPSILON,
    quick: bool = False,
    largest: int = LARGEST,
    recurrent: str | Sequence[str] | None = None,
    orientation: str | None = None,
    leak: float | None = None,
    dt: float | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Measure every matrix of a trained network and say what is worth knowing.

    Parameters
    ----------
    source : nn.Module, mapping, or path
        As for `named_matrices`; or what that gave, or a part of it.
    data : Tensor, tuple or mapping, optional
        What the network takes, such as sequences (N, T, F): its recurrent layers are examined on them too.
    model : nn.Module, optional
        The network that the data run through, where `source` is a file or a state_dict.
    epsilon : float
        Level of the pseudospectral measures, in the units of the weights.
    quick : bool
        Direct formulas only: no pseudospectra, intervals, portraits, growth, number formats.
    largest : int
        Smaller size of a matrix from which on only bounds of its norm are computed.
    recurrent, orientation, leak, dt : optional
        As for `named_matrices`.
    threads : int, optional
        Matrices measured at the same time; by default as many as there are cores.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of matrices; a recurrent layer or direction that is
        examined on data counts as ten more, the Lipschitz bounds of a network as one.

    Returns
    -------
    Diagnosis
        Table and findings.

    Raises
    ------
    UnsupportedModelError
        If the source is no model.
    ValueError
        If a file is damaged, or an option is out of range.

    Notes
    -----
    Square matrices get every measure, rectangular ones norms and distribution. Findings about stability are
    made for the matrices that carry the state only (of a GRU gate n, of an LSTM gate g): the other gates do
    not act alone. A matrix that cannot be measured is a finding; the others are measured all the same.

    Examples
    --------
    >>> import torch
    >>> from rnn import diagnose
    >>> found = diagnose({"weight_hh_l0": 0.5 * torch.eye(3)})
    >>> print(found)
    1 matrix, 0 entries not understood
    pass: weight_hh_l0: spectral radius 0.5 and norm 0.5 are at most 1: no linear step makes the state grow.
    """
    import pandas as pd

    callback(progress)
    epsilon = positive(epsilon, "epsilon")
    largest = whole_number(largest, "largest")
    start = time.perf_counter()
    found = _found(source, recurrent=recurrent, orientation=orientation, leak=leak, dt=dt)
    network = _network(source, model, data)
    mapped = subject(network, data, quick=quick)
    other = [] if model is None else list(_differences(found, model))

    def later(before: int) -> Progress | None:
        total = len(found) + mapped.units
        return None if progress is None else lambda done, _: progress(before + done, total)

    def detail(record: NamedMatrix) -> MatrixDetail:
        return matrix_detail(
            record.name,
            record.matrix,
            dynamics=record.dynamics,
            epsilon=epsilon,
            rounding=carries_state(record) and not record.derived,
            quick=quick,
            largest=largest,
        )

    details = _all_details(found, detail, available_threads(threads), later(0))
    rows = [_identity(record) | detail.values for record, detail in zip(found, details, strict=True)]
    findings = [
        finding
        for record, detail in zip(found, details, strict=True)
        for finding in matrix_findings(record, detail, epsilon, on_data=data is not None)
    ]
    findings += [*_about_the_network(found), *other]
    with one_blas_thread():
        on_data = examined(mapped, epsilon=epsilon, quick=quick, progress=later(len(found)))
    findings += on_data.findings
    seconds = Counter[str]()
    for one in details:
        seconds.update(one.seconds)
    return Diagnosis(
        source=found.origin,
        table=pd.DataFrame(rows, columns=list(COLUMNS)),
        findings=sorted(findings, key=lambda finding: -LEVELS.index(finding.level)),
        unrecognised=list(found.unrecognised),
        epsilon=epsilon,
        details=tuple(details),
        dynamics=on_data.dynamics,
        lipschitz=on_data.lipschitz,
        local_lipschitz=on_data.local_lipschitz,
        seconds=dict(seconds) | on_data.seconds | {"in all": time.perf_counter() - start},
    )


def _found(source: Any, **reading: Any) -> NamedMatrices:
    if not isinstance(source, NamedMatrices):
        return named_matrices(source, **reading)
    if any(option is not None for option in reading.values()):
        raise ValueError("recurrent, orientation, leak and dt are for rnn.named_matrices, not for its result")
    return source


def _network(source: Any, model: nn.Module | None, data: Any) -> nn.Module | None:
    network = source if isinstance(source, nn.Module) else model
    if data is not None and network is None:
        raise ValueError("data need a network to run through; pass the module itself, or model=")
    if model is not None and data is None:
        raise ValueError("model is only used with data; give both")
    return network


def _differences(found: NamedMatrices, model: nn.Module) -> Iterator[Finding]:
    """Say so if the network that the data run through has other weights than the source."""
    theirs = {record.name: record.matrix for record in named_matrices(model)}
    shared = [record for record in found if not record.derived and record.name in theirs]
    for record in shared:
        matrix = theirs[record.name]
        same = matrix.shape == record.shape
        if not same or np.linalg.norm(matrix - record.matrix) > _SAME * np.linalg.norm(matrix):
            text = (
                "differs from that of the model: what is said of the data and of the network is the model's"
            )
            yield Finding("warning", record.name, text)
    if not shared:
        yield Finding(
            "notice", "network", "source and model share no name of a matrix; are they one network?"
        )


def _all_details(
    found: NamedMatrices,
    detail: Callable[[NamedMatrix], MatrixDetail],
    threads: int,
    progress: Progress | None,
) -> list[MatrixDetail]:
    """Compute the details of several matrices at a time; Ctrl-C drops those that have not begun."""
    pool = ThreadPoolExecutor(threads)
    ended = False
    try:
        with warnings.catch_warnings(), one_blas_thread():
            warnings.simplefilter("ignore", AccuracyWarning)  # the intervals say the same
            futures = [pool.submit(detail, record) for record in found]
            waiting = set(futures)
            while waiting:
                _, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                if progress is not None:
                    progress(len(futures) - len(waiting), len(futures))
            ended = True
            return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=ended, cancel_futures=True)


def _identity(record: NamedMatrix) -> dict[str, Any]:
    rows, columns = record.shape
    named = ("name", "layer", "direction", "gate", "role", "dynamics")
    return {name: getattr(record, name) for name in named} | {"rows": rows, "columns": columns}


def _about_the_network(found: NamedMatrices) -> Iterator[Finding]:
    for name, reason in found.unrecognised:
        if "not weights" in reason:  # of an optimiser, say
            yield Finding("pass", name, f"left out: {reason}")
        else:
            yield Finding("notice", name, f"not understood and left out: {reason}")
    if not len(found):
        yield Finding("warning", "network", "no weight matrix was found; see what was not understood")
    elif not any(map(carries_state, found)) and (assumed := _assumed_orientation(found)):
        text = (
            "none of its arrays is called a recurrent matrix, so that nothing was said about growth over "
            "time; name those that are: recurrent=[...] (--recurrent NAME). Arrays whose names follow no "
            f"convention were {assumed}"
        )
        yield Finding("notice", "network", text)


def _assumed_orientation(found: NamedMatrices) -> str:
    """Give the words on the orientation of arrays whose names follow no convention, if there are any."""
    said = (re.search(r"taken as \((?:out, in|in, out)\)", record.origin) for record in found)
    return next((match[0] for match in said if match), "")
