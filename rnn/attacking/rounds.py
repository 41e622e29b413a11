"""The rounds of an attack: what it proposes is projected and judged, and examples that are turned leave."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from rnn.attacking.answers import all_finite
from rnn.attacking.bench import Bench
from rnn.attacking.first_looks import FirstLook
from rnn.attacking.strength import Watch, Watched, WatchedObjective, second_look
from rnn.attacking.threats import Threat
from rnn.attacks import FGSM, Attack, DeepFool, FABTargeted

_DRAW_NOTHING = (FGSM, DeepFool, FABTargeted)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What an attack left, as judged by a fresh forward pass over all final inputs.

    Attributes
    ----------
    perturbed : Tensor, shape (N, ...)
        The final inputs; those of examples that were not attacked as they were.
    right : Tensor of bool, shape (N,)
        Whether the answers there are.
    scores : Tensor, shape (N, C)
        The scores there.
    turned : list of int
        Examples turned in each round, over all frames.
    """

    perturbed: Tensor
    right: Tensor
    scores: Tensor
    turned: list[int]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Where attacks with one threat meet the examples of a bench.

    Attributes
    ----------
    bench : Bench
        Model and examples.
    scores : Tensor, shape (N, C)
        Scores at the clean inputs.
    threat : Threat
        Norm, budget, bounds.
    one_frame : bool
        Whether only one frame of an example may be moved, whichever.
    random : numpy.random.Generator
        Draws the noise, for all examples at once, so that it belongs to them and not to a batch.
    watch : Watch
        Notes queries.
    first : FirstLook, or None
        What the model said about the clean inputs, and need not be asked again.
    """

    bench: Bench
    scores: Tensor
    threat: Threat
    one_frame: bool
    random: np.random.Generator
    watch: Watch
    first: FirstLook | None = None

    def run(self, method: Attack, alive: Tensor) -> Outcome:
        """Attack some of the examples, with `one_frame` one frame after the other.

        Parameters
        ----------
        method : Attack
            The attack.
        alive : Tensor of int64
            Numbers of the examples.

        Returns
        -------
        Outcome
            The final inputs, and the judgement over them.

        Notes
        -----
        Each round is judged before the next, and in the end all examples are: that is the judgement of the
        last round too. One frame alone may have nothing to say in an answer, as a later one in the label of
        an earlier: so the watch notes as flat only whom every frame left flat.
        """
        flat, noted = torch.zeros_like(self.watch.flat), self.watch.flat
        flat[alive] = True
        perturbed, turned, last = self.bench.x.clone(), [0] * method.rounds, alive[:0]
        frames = [*range(self.bench.x.shape[1])] if self.one_frame else [None]
        for frame in frames:
            movable = self.bench.movable(frame)
            here = alive if movable is None else alive[movable[alive].any(1)]
            ends = frame == frames[-1]
            self.watch.flat = torch.zeros_like(flat)
            left, counts = self._rounds(method, here, movable, perturbed, judged=not ends)
            flat[here] &= self.watch.flat[here]
            turned = [before + now for before, now in zip(turned, counts, strict=True)]
            if not ends:
                alive = alive[~torch.isin(alive, here) | torch.isin(alive, left)]
            last = left if ends and self.threat.budget > 0 else last
        self.watch.flat = noted | flat
        scores, right = self.bench.judge(perturbed)
        self.watch.forward(last, scores[last], self.bench.truth[last])
        turned[-1] += int((~right[last]).sum())
        return Outcome(perturbed, right, scores, turned)

    def differentiable(self, alive: Tensor) -> bool:
        """Say whether the scores depend differentiably on the input, if only by a gradient of 0.

        Parameters
        ----------
        alive : Tensor of int64
            Numbers of examples; the first is tried.

        Returns
        -------
        bool
            Whether they do.
        """
        bench, index = self.bench, alive[:1]
        x = bench.x[index].to(bench.device).requires_grad_()
        with torch.enable_grad():
            scores = bench.questions.rows(index, bench.device).ask(bench.model, x)[0]
            if not scores.requires_grad:
                return False
            return torch.autograd.grad(scores.sum(), x, allow_unused=True)[0] is not None

    def overlooked(self, alive: Tensor) -> tuple[Tensor, Tensor]:
        """Look again at examples that stayed right.

        Parameters
        ----------
        alive : Tensor of int64
            Their numbers.

        Returns
        -------
        missed : Tensor of bool, shape (N,)
            Whom one full step along the gradient of the log-odds turns.
        stuck : Tensor of bool, shape (N,)
            Whose best lead of a wrong class never exceeded the clean one, although the gradient promised it.

        Notes
        -----
        The queries of this look are not counted.
        """
        missed = torch.zeros(len(self.bench.x), dtype=torch.bool, device=self.bench.x.device)
        stuck = missed.clone()
        for index in alive.split(self.bench.batch) if len(alive) else ():
            x, objective = self._examples(index, self.bench.movable())
            tried = ~self.watch.risen[index]
            with torch.enable_grad(), self.watch.uncounted():
                wrong, promised = second_look(objective, x, self.threat)
            missed[index] = wrong.to(missed.device)
            noticeable = promised.to(tried.device) > 1e-3 * self.scores[index].abs().amax(1)
            stuck[index] = tried & noticeable
        return missed, stuck

    def _rounds(
        self, method: Attack, alive: Tensor, movable: Tensor | None, perturbed: Tensor, *, judged: bool
    ) -> tuple[Tensor, list[int]]:
        """Fill `perturbed`; give who is left, and how many each round turned, the last only if `judged`."""
        turned, bench = [0] * method.rounds, self.bench
        for turn in range(method.rounds):
            if len(alive) == 0 or self.threat.budget == 0:
                break
            noise = self._noise(method)
            still = []
            for index in alive.split(bench.batch):
                local = noise[index.cpu()].to(bench.device)
                final, objective = self._proposal(method, index, movable, local, turn)
                perturbed[index] = final.to(perturbed.device)
                if judged or turn + 1 < method.rounds:
                    index = index[~objective.excess(final)[1].to(index.device)]
                still.append(index)
            turned[turn] = len(alive) - sum(len(part) for part in still)
            alive = torch.cat(still) if len(still) > 1 else still[0]
        return alive, turned

    def _noise(self, method: Attack) -> Tensor:
        shape, dtype = self.bench.x.shape, self.bench.x.dtype
        if type(method) in _DRAW_NOTHING:
            return torch.zeros(1, dtype=dtype).expand(shape)
        return torch.from_numpy(self.random.standard_normal(shape, dtype=np.float32)).to(dtype)

    def _proposal(
        self, method: Attack, index: Tensor, movable: Tensor | None, noise: Tensor, turn: int
    ) -> tuple[Tensor, WatchedObjective]:
        x, objective = self._examples(index, movable)
        free = None if objective.model.fixed is None else objective.model.fixed[0]
        noise = noise if free is None else torch.where(free, noise, 0.0)
        with torch.enable_grad():
            proposal = method.perturb(objective, x.clone(), self.threat, noise=noise, turn=turn)
        proposal = proposal.detach().to(x)
        if proposal.shape != x.shape or not all_finite(proposal):
            raise ValueError(
                f"{type(method).__name__} returned NaN, infinity or another shape than its input has"
            )
        final = self.threat.project(proposal if free is None else torch.where(free, proposal, x), x)
        return final, objective

    def _examples(self, index: Tensor, movable: Tensor | None) -> tuple[Tensor, WatchedObjective]:
        bench = self.bench
        x = bench.x[index].to(bench.device)
        fixed = None
        if movable is not None:
            where = movable[index].to(bench.device)
            fixed = (where.view(*where.shape, *[1] * (x.ndim - 2)), x)
        questions = bench.questions.rows(index, bench.device)
        first = None if self.first is None else self.first.rows(index, x)
        watched = Watched(bench.model, questions, index, self.watch, fixed, first)
        return x, WatchedObjective(watched, self.scores[index].to(bench.device))
