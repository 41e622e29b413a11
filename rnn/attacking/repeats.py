"""Repeats of an attack with independent random numbers: whom they turn together, and how far they agree."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rnn.attacking.bench import Bench
from rnn.attacking.rounds import Outcome, Stage
from rnn.attacks import Attack

_ASKED_AGAIN = 16  # examples; what draws random numbers mostly does so for all of them
_AGREEMENT = 1e-4  # relative, of scores; far above rounding in float32


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Repeats:
    """What several runs of an attack left.

    Attributes
    ----------
    outcome : Outcome
        Of all runs together: of each example the perturbation of the first run that turned it, else of the
        last; `turned` is that of the first run.
    robust : list of int
        Examples that each run alone did not turn.
    times : Tensor of int64, shape (N,)
        How many of the runs turned an example.
    """

    outcome: Outcome
    robust: list[int]
    times: Tensor


def repeated(stage: Stage, method: Attack, alive: Tensor, repeats: int) -> Repeats:
    """Attack the same examples several times, each time from the start, with further random numbers.

    Parameters
    ----------
    stage : Stage
        Model, examples, threat.
    method : Attack
        The attack.
    alive : Tensor of int64
        Numbers of the examples.
    repeats : int
        How often.

    Returns
    -------
    Repeats
        The first run is that of a single one.
    """
    whole = stage.run(method, alive)
    turned = ~whole.right[alive]
    times = torch.zeros(len(whole.right), dtype=torch.int64, device=whole.right.device)
    times[alive] += turned
    robust, perturbed = [int((~turned).sum())], whole.perturbed
    for _ in range(1, repeats):
        further = stage.run(method, alive)
        turned = ~further.right[alive]
        still = alive[times[alive] == 0]
        perturbed[still] = further.perturbed[still]
        times[alive] += turned
        robust.append(int((~turned).sum()))
    right = whole.right if repeats == 1 else stage.bench.judge(perturbed)[1]
    return Repeats(Outcome(perturbed, right, whole.turned), robust, times)


def unsteady(bench: Bench, scores: Tensor) -> Tensor:
    """Ask again about clean inputs, to see whether the model draws random numbers.

    Parameters
    ----------
    bench : Bench
        Model and examples.
    scores : Tensor, shape (N, C)
        What it said at first.

    Returns
    -------
    Tensor of bool, shape (N,)
        Whose scores differ between two passes by more than rounding.

    Notes
    -----
    One pass over the first 16 examples; only if they differ, two over all.
    """
    index = torch.arange(min(_ASKED_AGAIN, len(scores)), device=scores.device)
    with torch.no_grad():
        questions = bench.questions.rows(index, bench.device)
        again = questions.ask(bench.model, bench.x[index].to(bench.device))[0].to(scores.device)
    if not _differ(again, scores[index]).any():
        return torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    first, second = bench.judge(bench.x)[0], bench.judge(bench.x)[0]
    return _differ(first, second)


def _differ(first: Tensor, second: Tensor) -> Tensor:
    scale = torch.maximum(first.abs().amax(1), second.abs().amax(1))
    return ~((first - second).abs().amax(1) <= _AGREEMENT * scale)
