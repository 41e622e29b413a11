"""One's own trained models: measured, attacked and correlated by one call, without training anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rnn.study.model_correlations import ModelCorrelations, model_correlations
from rnn.study.model_rows import REST, Entry, Judgement, Progress, Source, model_rows, rows_frame
from rnn.study.network_rows import AttackPlan
from rnn.study.probes import check_asked


def correlate(
    models: Iterable[Source | Entry] | Mapping[str, Source] | Callable[[], Iterable[Source | Entry]],
    x: Tensor | ArrayLike,
    y: Tensor | ArrayLike,
    *,
    measures: Sequence[str] | None = None,
    outcomes: Sequence[str] | None = None,
    plan: AttackPlan | None = None,
    groups: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
    covariates: Sequence[str] = ("clean_accuracy",),
    bounds: tuple[float, float] | None = None,
    lengths: Tensor | ArrayLike | None = None,
    tolerance: float | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    rng: int = 0,
    progress: Progress | None = None,
) -> ModelCorrelations:
    """Find out which measures go with robustness among trained models: measure, attack, correlate.

    Parameters
    ----------
    models : iterable, mapping or callable
        The models: a sequence, an iterator, a mapping from names, or a function that gives one of these. Each
        is a ``torch.nn.Module``, the path of a checkpoint that rebuilds itself (see `rnn.load_checkpoint`), a
        function without arguments that loads a module, or a pair (name, one of these). Paths, functions and
        iterators are loaded one at a time.
    x : Tensor or array, shape (N, ...)
        Inputs to attack, in the precision of the models; a hundred or more, none of them trained on.
    y : Tensor or array
        Labels (N,), labels of frames (N, T), or targets.
    measures, outcomes : sequence of str, optional
        Columns of ``.rows`` to correlate; None for sixteen measures, and for the worst of the attacks at each
        budget with the median distances. Each more makes every test stricter.
    plan : AttackPlan, optional
        Attacks and budgets; None is ``AttackPlan()``.
    groups : sequence of str, optional
        A label for each model. Only models of one group are compared with each other, and groups are pooled
        by random effects. None groups by architecture: the class of the module, the cell of a model of ours.
    clusters : sequence of str, optional
        A label for each model. Models of one label belong together and do not count as independent, such as
        checkpoints of one training.
    covariates : sequence of str
        Columns that are held fixed in the partial correlations.
    bounds, lengths, tolerance
        See `rnn.attack`.
    workers : int
        Number of worker processes; 1 works here, on one thread.
    executor : concurrent.futures.Executor, optional
        Where to work instead; see `rnn.run_trials`.
    rng : int
        Seed of attacks, kicks, resamples and permutations.
    progress : callable, optional
        Called as ``progress(done, total, row)`` after each model; total is 0 where nobody knows it.

    Returns
    -------
    ModelCorrelations
        ``.rows``, ``.table`` and ``.findings`` first of all; ``.statistics`` holds all tables, and
        ``.write(folder)`` writes a page.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If an argument does not fit the others, a column is not there, or no model at all can be measured.

    Notes
    -----
    A model that fails is in ``.failures`` with its error, and the others go on. With fewer than five models
    there are rows and no correlations. The models come back as they were. All is computed on the CPU: a model
    elsewhere is copied there.

    The fooling rate is that among the clean-correct examples, and partial correlations hold clean accuracy
    fixed. A gain says how much stronger a correlation is than that of the better baseline, spectral radius or
    norm. See `rnn.study_statistics` for what is computed how. Twenty models are few: the findings say which
    correlation would have been found.

    Examples
    --------
    >>> import functools, rnn
    >>> from rnn.study.network_rows import AttackPlan
    >>> make = functools.partial(rnn.ModelConfig, "tanh", 3, 4, hidden=3, classes=2)
    >>> models = [rnn.build_model(make(gain=1 + seed / 3, seed=seed)) for seed in range(6)]
    >>> x, y = torch.rand(40, 4, 3), torch.arange(40) % 2
    >>> plan = AttackPlan(methods=("fgsm",), budgets=(("linf", (0.2,)),), minimal=())
    >>> found = rnn.correlate(models, x, y, plan=plan, measures=["spectral_norm", "growth_end"])
    >>> found.rows[["name", "group"]].values[0].tolist(), len(found.rows)
    (['model 0', 'tanh'], 6)
    >>> found.table["measure"].nunique(), found.outcomes
    (2, ('fooling_all_linf_0.2',))
    """
    on = Judgement(
        _tensor(x, "x"),
        _tensor(y, "y"),
        AttackPlan() if plan is None else plan,
        bounds,
        None if lengths is None else _tensor(lengths, "lengths"),
        tolerance,
        rng,
    )
    check_asked(on.plan, {"measures": measures, "outcomes": outcomes, "covariates": covariates})
    labels = {"groups": groups, "clusters": clusters}
    if isinstance(models, (Sequence, Mapping)):
        _check_labels(labels, len(models))
    rows = model_rows(models, on, workers=workers, executor=executor, progress=progress)
    if rows and rows[-1].name != REST:
        _check_labels(labels, len(rows))
    failures = [(row.name, row.error) for row in rows if row.error]
    if len(failures) == len(rows):
        if not failures:
            raise ValueError("models is empty; expected at least one")
        raise ValueError(f"none of {len(rows)} models could be measured; the first: {failures[0][1]}")
    kept = [place for place, row in enumerate(rows) if not row.error]
    grouped, clustered = ([given[k] for k in kept] if given else None for given in (groups, clusters))
    return model_correlations(
        rows_frame([rows[k] for k in kept], grouped),
        plan=on.plan,
        measures=measures,
        outcomes=outcomes,
        covariates=covariates,
        clusters=clustered,
        failures=failures,
        rng=rng,
    )


def _check_labels(labels: Mapping[str, Sequence[str] | None], count: int) -> None:
    for name, given in labels.items():
        if given is not None and (isinstance(given, str) or len(given) != count):
            raise ValueError(f"{name} is {given!r:.60} for {count} models; expected one label for each")


def _tensor(value: Tensor | ArrayLike, name: str) -> Tensor:
    try:
        return torch.as_tensor(value).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{name} is a {type(value).__name__} without a tensor in it ({error}); expected numbers"
        ) from None
