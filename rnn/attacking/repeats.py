"""Repeats of an attack with independent random numbers: whom they turn together, and how far they agree."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from rnn.attacking.bench import Bench
from rnn.attacking.first_looks import FirstLook
from rnn.attacking.rounds import Outcome, Stage
from rnn.attacks import Attack

_TELLING = 4  # examples that an attack left as they were; fewer are not relied upon
_ASKED_AGAIN = 16  # examples otherwise; what draws random numbers mostly does so for all of them
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
    if repeats > 1:
        scores, right = stage.bench.judge(perturbed)
        whole = Outcome(perturbed, right, scores, whole.turned)
    return Repeats(whole, robust, times)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """What a model leaves behind that draws random numbers from torch, or writes into its buffers.

    Attributes
    ----------
    generator : Tensor
        State of torch's generator on the CPU.
    buffers : list of tuple of int
        Which tensors are the buffers, and how often each was written to.
    """

    generator: Tensor
    buffers: list[tuple[int, int]]

    @classmethod
    def of(cls, model: nn.Module) -> Traces:
        """Look at a model now.

        Parameters
        ----------
        model : nn.Module
            The model.

        Returns
        -------
        Traces
            How things stand.
        """
        found = [(id(buffer), 0 if buffer.is_inference() else buffer._version) for buffer in model.buffers()]
        return cls(torch.get_rng_state(), found)

    def same(self, other: Traces) -> bool:
        """Say whether nothing has happened in between.

        Parameters
        ----------
        other : Traces
            Of another time.

        Returns
        -------
        bool
            Whether nothing has.
        """
        return self.buffers == other.buffers and torch.equal(self.generator, other.generator)


def unsteady(bench: Bench, first: FirstLook, outcome: Outcome, before: Traces) -> Tensor:
    """Find out whether a model answers differently when it is asked again.

    Parameters
    ----------
    bench : Bench
        Model and examples.
    first : FirstLook
        What it said at first.
    outcome : Outcome
        What it said in the end, also about clean mistakes, which no attack moves.
    before : Traces
        Of the time before it was asked anything.

    Returns
    -------
    Tensor of bool, shape (N,)
        Whose scores differ between two passes by more than rounding.

    Notes
    -----
    Two passes over all examples tell, but only if there is reason to suspect the model: it has drawn from
    torch's generator or written into a buffer, or clean mistakes got other scores in the end than at first.
    With fewer than 4 of those, one pass over the first 16 examples stands in for them.
    """
    suspected = not before.same(Traces.of(bench.model))
    kept = (~first.right).nonzero()[:, 0]
    if not suspected and len(kept) >= _TELLING:
        suspected = bool(_differ(outcome.scores[kept], first.scores[kept]).any())
    elif not suspected:
        rows = slice(0, min(_ASKED_AGAIN, bench.batch))
        with torch.no_grad():
            shown = bench.x[rows].to(bench.device, copy=True)
            again = bench.questions.rows(rows, bench.device).ask(bench.model, shown)[0]
        suspected = bool(_differ(again.to(bench.x.device), first.scores[rows]).any())
    if not suspected:
        return torch.zeros(len(first.scores), dtype=torch.bool, device=first.scores.device)
    return _differ(bench.judge(bench.x)[0], bench.judge(bench.x)[0])


def _differ(first: Tensor, second: Tensor) -> Tensor:
    scale = torch.maximum(first.abs().amax(1), second.abs().amax(1))
    return ~((first - second).abs().amax(1) <= _AGREEMENT * scale)
