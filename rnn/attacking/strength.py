"""How far an attack can be trusted: what was seen while it ran, and the signs that it was too weak."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from rnn.attacking.answers import Questions
from rnn.attacking.first_looks import FirstLook
from rnn.attacking.losses import Loss, without
from rnn.attacking.objectives import Objective, Slope, gradient_of
from rnn.attacking.threats import Threat

_NOTICED = 0.02  # share of the attacked examples from which on a sign counts


@dataclasses.dataclass(frozen=True, slots=True)
class AttackStrength:
    """What speaks against an attack: signs that examples which stayed right were not attacked well.

    Attributes
    ----------
    attacked : int
        Examples predicted correctly when clean.
    resisted : int
        Those still right in the end. The next four count among them.
    flat : int
        A gradient was exactly 0: logits or activations are saturated, or something is rounded.
    broken : int
        A gradient had a NaN or infinite entry, which was taken as 0.
    stuck : int
        No query ever raised the lead of a wrong class, although the gradient promised it.
    missed : int
        One step along the gradient of the log-odds turns the example, and the attack did not.
    rounds : int
        Rounds of the attack.
    last : int
        Examples that the last of several rounds still turned.
    repeats : int
        How often the attack was run with independent random numbers.
    once : int
        Examples that just one of several repeats turned.
    unsteady : int
        Examples whose clean scores differ between two passes: the model draws random numbers, or remembers.
    sparse : int
        Examples that only APGD on one loss was tried on, in l1, where it is weak.
    """

    attacked: int
    resisted: int
    flat: int
    broken: int
    stuck: int
    missed: int
    rounds: int
    last: int
    repeats: int = 1
    once: int = 0
    unsteady: int = 0
    sparse: int = 0

    @property
    def signs(self) -> tuple[str, ...]:
        """One sentence for each sign of weakness met at more than 2 % of the attacked examples.

        A single example that the last round turned is no sign. One more repeat is expected to turn about as
        many further examples as there are of those that just one repeat turned, over the number of repeats
        (Good and Turing's estimate of what was not yet seen).
        """
        those = f"of the {self.resisted} examples that stayed right"
        signs = {
            f"{self.flat} {those} met a gradient of exactly 0: something saturates or is rounded, "
            "try method='square' (--method square)": self.flat,
            f"{self.broken} {those} met NaN or infinite gradients, taken as 0": self.broken,
            f"for {self.stuck} {those} the loss never rose, although the gradient promised it": self.stuck,
            f"{self.missed} {those} are turned by one step along the log-odds": self.missed,
            f"the last of {self.rounds} rounds still turned {self.last} examples, take more": self.last
            if self.last > 1
            else 0,
            f"{self.once} examples were turned by only one of {self.repeats} repeats, so that one more may "
            f"turn about {self.once / self.repeats:.0f} others": self.once / self.repeats
            if self.once > 1
            else 0,
            f"asked twice, the model answers {self.unsteady} clean inputs with different scores: it draws "
            "random numbers or remembers, so that the verdict is one draw of many": self.unsteady,
            f"{self.sparse} {those} met APGD on one loss only, which is weak in l1: take 'pgd', 'apgd-t' or "
            "'worst'": self.sparse,
        }
        return tuple(sign for sign, count in signs.items() if count > _NOTICED * self.attacked)

    def __str__(self) -> str:
        """One line."""
        return "; ".join(self.signs) or "no sign of weakness"


class Watch:
    """Counts, example by example, of what attacks ask and what they are told.

    Parameters
    ----------
    margins : Tensor, shape (N,)
        By how much the likeliest wrong class leads at the clean inputs.

    Attributes
    ----------
    flat, broken : Tensor of bool, shape (N,)
        Whether a gradient was 0, or had a NaN or infinite entry.

    Notes
    -----
    An attack mostly asks about the same examples as a moment ago: such queries are summed up, and shared out
    when it goes on with others or somebody wants to know.
    """

    def __init__(self, margins: Tensor) -> None:
        self._margins = margins
        self._counts = torch.zeros(2, len(margins), dtype=torch.int64, device=margins.device)
        self.flat = torch.zeros_like(margins, dtype=torch.bool)
        self.broken, self._risen = self.flat.clone(), self.flat.clone()
        self._index, self._rose = torch.arange(0, device=margins.device), self._risen[:0]
        self._passes, self._all_rose = [0, 0], True

    @property
    def queries(self) -> Tensor:
        """Forward passes that each example took part in, int64 of shape (N,)."""
        self._share_out()
        return self._counts[0]

    @property
    def gradients(self) -> Tensor:
        """Backward passes, int64 of shape (N,)."""
        self._share_out()
        return self._counts[1]

    @property
    def risen(self) -> Tensor:
        """Whether any query found a larger lead than there is at the clean input, bool of shape (N,)."""
        self._share_out()
        return self._risen

    @contextlib.contextmanager
    def uncounted(self) -> Iterator[None]:
        """Within it, queries are not counted; what they find is noted all the same.

        Yields
        ------
        None
            Nothing.
        """
        self._share_out()
        before = self._counts.clone()
        try:
            yield
        finally:
            self._share_out()
            self._counts = before

    @torch.no_grad()
    def forward(self, index: Tensor, scores: Tensor | None = None, y: Tensor | None = None) -> None:
        """Note a forward pass.

        Parameters
        ----------
        index : Tensor of int64, shape (n,)
            The examples.
        scores : Tensor, shape (n, C), optional
            The logits found; None at the clean inputs, where no lead has risen.
        y : Tensor of int64, shape (n,), optional
            True labels.
        """
        self._turn_to(index)
        self._passes[0] += 1
        if scores is not None and y is not None and not self._all_rose:
            self._rose |= lead(scores.detach(), y).to(self._margins) > self._margins[index]
            self._all_rose = bool(self._rose.all())

    @torch.no_grad()
    def backward(self, index: Tensor, gradient: Tensor) -> Tensor:
        """Note a gradient, and give it with 0 for what is not finite.

        Parameters
        ----------
        index : Tensor of int64, shape (n,)
            The examples.
        gradient : Tensor, shape (n, ...)
            Their gradients.

        Returns
        -------
        Tensor, shape (n, ...)
            The finite gradients.
        """
        self._turn_to(index)
        self._passes[1] += 1
        rows = gradient.flatten(1)
        ends = torch.aminmax(torch.linalg.vector_norm(rows, 1, 1))  # both NaN if one is
        if float(ends.min) > 0 and float(ends.max) < math.inf:
            return gradient
        size = rows.abs().amax(1).to(index.device)
        self.flat[index] |= size == 0
        self.broken[index] |= ~size.isfinite()
        return gradient.nan_to_num(0.0, 0.0, 0.0)

    def _turn_to(self, index: Tensor) -> None:
        if index is not self._index:
            self._share_out()
            self._index, self._rose = index, self._risen[index]
            self._all_rose = bool(self._rose.all())

    def _share_out(self) -> None:
        if any(self._passes):
            self._counts[:, self._index] += self._counts.new_tensor(self._passes)[:, None]
            self._risen[self._index] = self._rose
            self._passes = [0, 0]


class Watched:
    """A model as an attack sees it: class scores of some examples, every query noted.

    Parameters
    ----------
    model : nn.Module
        The model.
    questions : Questions
        What is asked about the examples, on the device of the model.
    index : Tensor of int64, shape (n,)
        Their numbers among all.
    watch : Watch
        Where to note.
    fixed : tuple of Tensor, or None
        Where entries may be moved, and the clean inputs, which the model is shown elsewhere.
    first : FirstLook, or None
        What the model said about the clean inputs of these examples.
    """

    def __init__(
        self,
        model: nn.Module,
        questions: Questions,
        index: Tensor,
        watch: Watch,
        fixed: tuple[Tensor, Tensor] | None = None,
        first: FirstLook | None = None,
    ) -> None:
        self.model, self.questions, self.index, self.watch, self.fixed = model, questions, index, watch, fixed
        self.first = first
        self.truth = questions.truth

    def rows(self, keep: Tensor) -> Watched:
        """Give the model as seen with some of the examples.

        Parameters
        ----------
        keep : Tensor of int64 or bool
            Which.

        Returns
        -------
        Watched
            The same model. The first look is forgotten: who asks for some has left the clean inputs.
        """
        fixed = None if self.fixed is None else (self.fixed[0][keep], self.fixed[1][keep])
        some = self.questions.rows(keep, self.truth.device)
        return Watched(self.model, some, self.index[keep.to(self.index.device)], self.watch, fixed)

    def ask(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give the scores, and whether each answer is right.

        Parameters
        ----------
        x : Tensor, shape (n, ...)
            One input for each example.

        Returns
        -------
        scores : Tensor, shape (n, C)
            The logits, or what stands for them.
        right : Tensor of bool, shape (n,)
            Whether the answer is.
        """
        shown = x if self.fixed is None else torch.where(self.fixed[0], x, self.fixed[1])
        scores, right = self.questions.ask(self.model, shown)
        self.watch.forward(self.index, scores, self.truth)
        return scores, right

    def recall(self, name: str, x: Tensor) -> Slope | None:
        """Give the slope of a loss from the first look, noted like any other query.

        Parameters
        ----------
        name : str
            The loss.
        x : Tensor, shape (n, ...)
            Where it is wanted.

        Returns
        -------
        Slope or None
            With the finite gradient; None if x is not the clean input or nothing is known.
        """
        known = None if self.first is None else self.first.recalled(name)
        if self.first is None or known is None or not torch.equal(x, self.first.x):
            return None
        gradient = known.gradient
        if self.fixed is not None:
            gradient = torch.where(self.fixed[0], gradient, 0.0)
        self.watch.forward(self.index)
        return known._replace(gradient=self.watch.backward(self.index, gradient))


class WatchedObjective(Objective):
    """An objective whose model is `Watched`, also where an attack goes on with some of the examples.

    Parameters
    ----------
    model : Watched
        The model as seen.
    clean : Tensor, shape (n, C)
        Logits at the clean inputs.
    """

    def __init__(self, model: Watched, clean: Tensor) -> None:
        super().__init__(model.model, model.truth, clean)
        self.model = model

    def rows(self, index: Tensor) -> WatchedObjective:
        """Give the objective of some of the examples.

        Parameters
        ----------
        index : Tensor of int64 or bool
            Which.

        Returns
        -------
        WatchedObjective
            The same questions, about these.
        """
        part = super().rows(index)
        assert isinstance(part, WatchedObjective)
        part.model = self.model.rows(index)
        return part

    def _asked(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, right = self.model.ask(x)
        return scores, ~right

    def _slope(self, x: Tensor, loss: Callable[[Tensor], Loss], name: str = "") -> Slope:
        known = self.model.recall(name, x)
        return super()._slope(x, loss) if known is None else known

    def _gradient(self, scores: Tensor, pull: Tensor, x: Tensor, *, keep: bool = False) -> Tensor:
        return self.model.watch.backward(self.model.index, gradient_of(scores, pull, x, keep=keep))


def lead(scores: Tensor, y: Tensor) -> Tensor:
    """Give by how much the likeliest wrong class leads: max over k of z_k - z_y.

    Parameters
    ----------
    scores : Tensor, shape (N, C)
        The logits z.
    y : Tensor, shape (N,)
        True labels.

    Returns
    -------
    Tensor, shape (N,)
        The leads; negative where the prediction is right.
    """
    return without(scores, y).amax(1) - scores.gather(1, y[:, None])[:, 0]


def second_look(objective: Objective, x: Tensor, threat: Threat) -> tuple[Tensor, Tensor]:
    """Take one full step along the gradient of the log-odds, to see what an attack might have overlooked.

    Parameters
    ----------
    objective : Objective
        The model as an attack may see it.
    x : Tensor, shape (n, ...)
        Clean inputs.
    threat : Threat
        Norm, budget, bounds.

    Returns
    -------
    wrong : Tensor of bool, shape (n,)
        Whether the prediction after the step is wrong.
    promised : Tensor of float64, shape (n,)
        By how much the log-odds would rise along the step if they were linear.
    """
    objective.cross_entropy(x)  # where the logits saturate its gradient is 0, which the watch notes
    gradient = objective.log_odds(x).gradient
    step = threat.project(x + threat.budget * threat.ascent(gradient), x)
    promised = (gradient.double() * (step.double() - x.double())).flatten(1).sum(1)
    return objective.excess(step)[1], promised
