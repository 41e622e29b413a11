"""Sequences of any length, labels of frames, regression, budgets for frames: judged as if by hand."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from rnn.attacking.answers import Questions
from rnn.attacking.verdicts import AttackResult
from rnn.harness import attack, robustness
from rnn.models import ModelConfig, build_model
from rnn.tasks import load_task
from spectra.errors import AccuracyWarning

LENGTHS = torch.tensor([3, 6, 1, 5, 6, 2, 4, 6])
RANDOM = torch.Generator().manual_seed(0)
X = torch.randn(8, 6, 3, generator=RANDOM)
X[torch.arange(6) >= LENGTHS[:, None]] = 0.0


class Reader(nn.Module):
    """A GRU that gives the logits after the last true frame, or at each frame, from padded or packed x."""

    def __init__(self, kind: str = "last") -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.rnn, self.kind = nn.GRU(3, 12, batch_first=True), kind
            self.head = nn.Linear(12, 4)
        with torch.no_grad():
            for weight in self.rnn.parameters():
                weight.mul_(2)
            self.head.bias.zero_()

    def forward(self, x: torch.Tensor | PackedSequence, lengths: torch.Tensor | None = None) -> Any:
        if isinstance(x, PackedSequence):
            output, last = self.rnn(x)
            if self.kind == "each":
                return output._replace(data=self.head(output.data)), last
            return self.head(last[-1])
        output = self.head(self.rnn(x)[0])
        if self.kind == "each":
            return output
        return output[torch.arange(len(x)), (x.shape[1] if lengths is None else lengths) - 1]


def predicted(kind: str) -> torch.Tensor:
    with torch.no_grad():
        return Reader(kind)(X, LENGTHS).argmax(-1)


def run(model: nn.Module, x: Any = X, **changes: Any) -> AttackResult:
    chosen = {"method": "pgd", "norm": "linf", "budget": 0.3, **changes}
    return attack(model, x, chosen.pop("y"), **chosen)


# Sequences of different lengths


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("form", ["padded", "packed"])
def test_a_batch_of_lengths_is_attacked_as_each_sequence_alone(form: str, norm: str) -> None:
    model, y, budget = Reader(), predicted("last"), 2.0 if norm == "l1" else 0.3
    packed = pack_sequence(
        [row[:n] for row, n in zip(X, LENGTHS.tolist(), strict=True)], enforce_sorted=False
    )
    given = {"x": packed} if form == "packed" else {"x": X, "lengths": LENGTHS}
    result = run(model, **given, y=y, method="fgsm", norm=norm, budget=budget)
    assert result.clean_correct.all()
    assert 0 < result.success.sum() < 8
    for i, n in enumerate(LENGTHS.tolist()):
        alone = run(model, X[i : i + 1, :n], y=y[i : i + 1], method="fgsm", norm=norm, budget=budget)
        torch.testing.assert_close(result.perturbed[i : i + 1, :n], alone.perturbed, atol=1e-6, rtol=0)
        assert result.success[i] == alone.success[0]
        assert not result.perturbed[i, n:].any()


@pytest.mark.filterwarnings("ignore:apgd-ce at l1")
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("method", ["pgd", "apgd-ce", "fab", "square", "noise-gaussian", "worst"])
def test_padding_is_never_moved(method: str, norm: str) -> None:
    options = {"pgd": {}, "noise-gaussian": {}, "square": {"steps": 50}}.get(method, {"steps": 5})
    budget = 1.0 if norm == "l1" else 0.3
    bent = Reader()
    bent.forward = lambda x, lengths: Reader.forward(bent, x + x.mean((1, 2), keepdim=True), lengths)  # type: ignore[method-assign]
    result = attack(
        bent,
        X,
        predicted("last"),
        method=method,
        norm=norm,
        budget=budget,
        lengths=LENGTHS,
        batch_size=3,
        **options,
    )
    assert not result.perturbed[torch.arange(6) >= LENGTHS[:, None]].any()
    assert (result.distances <= budget * (1 + 1e-6)).all()
    if method != "noise-gaussian":
        assert result.fooled.any()


def test_packed_padding_lies_inside_bounds() -> None:
    positive = X.abs() + 0.5
    packed = pack_sequence([row[:n] for row, n in zip(positive, LENGTHS, strict=True)], enforce_sorted=False)
    result = run(Reader(), packed, y=torch.zeros(8, dtype=torch.long), bounds=(0.25, 9.0))
    assert result.perturbed.shape == (8, 6, 3)
    assert result.perturbed[2, 1:].unique().tolist() == [0.25]
    assert robustness(
        Reader(), packed, [0] * 8, methods=["fgsm"], norm="l2", budgets=[0.1]
    ).clean_accuracy == pytest.approx(result.clean_accuracy)


def test_a_model_without_lengths_sees_the_padded_batch() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, 4))
    with torch.no_grad():
        y = model(X).argmax(1)
    with pytest.warns(
        AccuracyWarning, match="padding changes the answers of this model, which takes no lengths"
    ):
        result = run(model, y=y, lengths=LENGTHS)
    with torch.no_grad():
        np.testing.assert_array_equal(result.success, (model(result.perturbed).argmax(1) != y).numpy())
    assert not result.perturbed[torch.arange(6) >= LENGTHS[:, None]].any()


# Labels of frames


@pytest.mark.parametrize("wrong_share", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("form", ["plain", "lengths", "packed"])
def test_labels_of_frames_are_wrong_when_too_many_are(form: str, wrong_share: float) -> None:
    model, y = Reader("each"), predicted("each")
    y[0, 0] = (y[0, 0] + 1) % 4  # some mistakes when clean
    y[1, :3] = (y[1, :3] + 1) % 4
    packed = pack_sequence([row[:n] for row, n in zip(X, LENGTHS, strict=True)], enforce_sorted=False)
    given = {"plain": {}, "lengths": {"lengths": LENGTHS}, "packed": {"x": packed}}[form]
    lengths = torch.full((8,), 6) if form == "plain" else LENGTHS
    result = run(model, **{"x": X, **given}, y=y, wrong_share=wrong_share, budget=0.6)
    for x, found in ((X, ~result.clean_correct), (result.perturbed, result.success)):
        with torch.no_grad():
            mistakes = model(x).argmax(2) != y
        wrong = [bool(row[:n].sum() > wrong_share * n) for row, n in zip(mistakes, lengths, strict=True)]
        assert found.tolist() == wrong
    assert result.fooled.any()


def test_the_scores_of_frames_are_those_of_the_deciding_frame() -> None:
    z = torch.tensor(
        [[[3.0, 0.0, 1.0], [1.0, 2.0, 0.0], [0.0, 0.0, 5.0]]]
    )  # leads of y = 0, 1, 2: -2, -1, -5
    y = torch.tensor([[0, 1, 2]])
    for share, expected in ((0.0, [2.0, 1.0, 0.0]), (0.34, [3.0, 0.0, 1.0]), (0.67, [5.0, 0.0, 0.0])):
        scores, right = Questions(y, wrong_share=share).ask(nn.Identity(), z)
        assert scores.tolist() == [expected]
        assert right.all()
    scores, right = Questions(torch.tensor([[1, 1, 2]])).ask(nn.Identity(), z)
    assert scores.tolist() == [[0.0, 3.0, 1.0]]
    assert not right.any()


# Regression


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2), ("l1", np.inf)])
@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_a_linear_regression_breaks_exactly_where_its_weights_say(
    norm: str, dual: float, shape: tuple[int, ...]
) -> None:
    model = nn.Linear(6, 1).double()
    x = torch.randn(5, 6, dtype=torch.float64, generator=RANDOM)
    with torch.no_grad():
        offset = torch.linspace(-0.5, 0.5, 5, dtype=torch.float64)
        target = (model(x)[:, 0] - offset).reshape(shape)
        needed = (0.6 - offset.abs()).numpy() / np.linalg.norm(model.weight[0].numpy(), dual)
    for factor in (0.99, 1.01):
        for i in range(5):
            given = {"norm": norm, "budget": float(needed[i] * factor), "tolerance": 0.6}
            result = run(model, x[i : i + 1], y=target[i : i + 1], steps=30, step_size=8.0, **given)
            assert result.clean_correct.all()
            assert result.success[0] == (factor > 1)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_targets_of_frames_are_missed_when_any_entry_is(lengths: torch.Tensor | None) -> None:
    model = Reader("each")
    with torch.no_grad():
        y = model(X) + 0.1 * torch.randn(8, 6, 4, generator=RANDOM)
    result = run(model, y=y.numpy(), tolerance=0.3, lengths=lengths, norm="l2", budget=0.5)
    inside = torch.arange(6) < (torch.full((8,), 6) if lengths is None else lengths)[:, None]
    for x, found in ((X, ~result.clean_correct), (result.perturbed, result.success)):
        with torch.no_grad():
            errors = (model(x) - y).abs().amax(2) * inside
        assert found.tolist() == (errors.amax(1) > 0.3).tolist()
    assert result.fooled.any()


@pytest.mark.parametrize("shape", [(8,), (8, 1), (8, 4), (8, 2, 2)])
def test_targets_of_whole_sequences_are_judged_whole_beside_lengths(shape: tuple[int, ...]) -> None:
    class Told(Reader):
        def forward(self, x: torch.Tensor | PackedSequence, lengths: torch.Tensor | None = None) -> Any:
            output = super().forward(x, lengths)
            return output if shape[1:] == (4,) else output.reshape(len(x), *shape[1:], -1)[..., 0]

    model = Told()
    if shape == (8, 2, 2):
        model.head = nn.Linear(12, 8)
    with torch.no_grad():
        y = model(X, LENGTHS) + 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(3))
    result = run(model, y=y, tolerance=0.25, lengths=LENGTHS, norm="l2", budget=2.0)
    for x, found in ((X, ~result.clean_correct), (result.perturbed, result.success)):
        with torch.no_grad():
            errors = (model(x, LENGTHS) - y).abs().reshape(8, -1).amax(1)
        assert found.tolist() == (errors > 0.25).tolist()
    assert result.fooled.any()


# Models that write into their input


@pytest.mark.parametrize("method", ["fgsm", "pgd", "fab", "square", "worst"])
def test_a_model_that_changes_its_input_is_attacked_as_one_that_does_not(method: str) -> None:
    class Writing(Reader):
        def forward(self, x: torch.Tensor | PackedSequence, lengths: torch.Tensor | None = None) -> Any:
            x.mul_(0.5).add_(0.1)
            return super().forward(x, lengths)

    class Reading(Reader):
        def forward(self, x: torch.Tensor | PackedSequence, lengths: torch.Tensor | None = None) -> Any:
            return super().forward(x * 0.5 + 0.1, lengths)

    with torch.no_grad():
        y = Reading()(X).argmax(1)
    options = {} if method == "fgsm" else {"steps": 5}
    one, other = (run(model(), y=y, method=method, **options) for model in (Writing, Reading))
    assert torch.equal(one.perturbed, other.perturbed)
    np.testing.assert_array_equal(one.queries, other.queries)


# Outputs of another precision


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
@pytest.mark.parametrize("method", ["fgsm", "pgd", "apgd-t", "fab", "fab-t", "deepfool", "square", "worst"])
def test_logits_of_another_precision_than_the_input(method: str, dtype: torch.dtype) -> None:
    class Cast(Reader):
        def forward(self, x: torch.Tensor | PackedSequence, lengths: torch.Tensor | None = None) -> Any:
            return super().forward(x, lengths).to(dtype)

    options = {} if method == "fgsm" else {"steps": 5}
    for norm in ("linf", "l2", "l1"):
        given = {"y": predicted("last"), "method": method, "norm": norm, "budget": 0.4, **options}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AccuracyWarning)  # half precision makes attacks weak
            found, plain = (run(model, lengths=LENGTHS, **given) for model in (Cast(), Reader()))
        assert found.perturbed.dtype == torch.float32
        if dtype == torch.float64:
            np.testing.assert_array_equal(found.success, plain.success)


# Budgets for frames


def per_frame() -> tuple[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits (0, <w, x>): frame t moves the margin by at most the budget times a dual norm of w_t."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False)).double()
    w = torch.randn(4, 3, dtype=torch.float64, generator=RANDOM)
    with torch.no_grad():
        model[1].weight.copy_(torch.stack((torch.zeros(12), w.flatten())))
    x = w[None] / w.square().sum()
    return model, x, torch.tensor([1]), w  # margin 1


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2), ("l1", np.inf)])
def test_a_budget_for_frames_moves_a_linear_model_as_far_as_its_weights_say(norm: str, dual: float) -> None:
    model, x, y, w = per_frame()
    slopes = np.linalg.norm(w.numpy(), dual, axis=1)
    for frames, slope in (("each", slopes.sum()), ("worst", slopes.max())):
        for factor in (0.99, 1.01):
            given = {"norm": norm, "budget": float(factor / slope), "frames": frames}
            result = run(model, x, y=y, steps=30, step_size=8.0, **given)
            assert result.success[0] == (factor > 1)
            delta = (result.perturbed - x)[0]
            lengths = np.linalg.norm(delta.numpy(), {"linf": np.inf, "l2": 2, "l1": 1}[norm], axis=1)
            assert lengths.max() <= given["budget"] * (1 + 1e-6)
            assert result.distances[0] == pytest.approx(lengths.max())
            moved = (lengths > 0).nonzero()[0].tolist()
            assert moved == ([int(slopes.argmax())] if factor > 1 else [3]) if frames == "worst" else True
            assert {"each": "in each frame", "worst": "in one frame"}[frames] in str(result)


def test_the_worst_frame_is_found_among_true_frames_only() -> None:
    y = predicted("last")
    result = run(Reader(), y=y, lengths=LENGTHS, frames="worst", budget=0.8)
    moved = (result.perturbed != X).any(2)
    assert (moved.sum(1) <= 1).all()
    assert not moved[torch.arange(6) >= LENGTHS[:, None]].any()
    assert 0 < result.fooled.sum() < run(Reader(), y=y, lengths=LENGTHS, budget=0.8).fooled.sum()
    curve = robustness(
        Reader(), X, y, methods=["pgd"], norm="linf", budgets=[0.8], lengths=LENGTHS, frames="worst"
    )
    np.testing.assert_array_equal(curve.minimal_budget == 0.8, result.fooled)


# Models without gradients, and what is refused


class Counting(nn.Module):
    """Predictions of a model, told as votes: no gradient at all."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x).detach()


@pytest.mark.parametrize("method", ["pgd", "apgd-ce", "worst"])
def test_without_a_gradient_square_takes_over_and_says_so(method: str) -> None:
    digits = load_task("digits")
    model = Counting(build_model(ModelConfig("tanh", features=8, steps=8, hidden=8)))
    x = digits.x_test[:12]
    with torch.no_grad():
        y = model(x).argmax(1)
    with pytest.warns(AccuracyWarning, match=f"so that '{method}' cannot work; 'square' takes its place"):
        result = attack(model, x, y, method=method, norm="linf", budget=0.3)
    assert result.method == "square"
    assert result.fooled.any()
    direct = attack(model, x, y, method="square", norm="linf", budget=0.3)  # says nothing
    assert torch.equal(direct.perturbed, result.perturbed)
    with pytest.warns(AccuracyWarning, match="takes its place"):
        robustness(model, x, y, methods=[method], norm="linf", budgets=[0.3])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"lengths": LENGTHS[:3]}, ValueError, r"lengths has shape \(3,\); expected \(8,\)"),
        (
            {"lengths": LENGTHS.float()},
            TypeError,
            r"lengths has dtype torch\.float32; expected whole numbers",
        ),
        ({"lengths": "abc"}, TypeError, "lengths is a str .*; expected 8 whole numbers"),
        ({"lengths": [None] * 8}, TypeError, "lengths is a list .*; expected 8 whole numbers"),
        ({"y": None}, TypeError, "y is a NoneType .*; expected 8 whole numbers"),
        ({"y": None, "tolerance": 1.0}, TypeError, "y is None; expected 8 targets"),
        ({"lengths": LENGTHS + 1}, ValueError, "lengths spans 2 to 7 for x of shape"),
        ({"lengths": LENGTHS - 1}, ValueError, "lengths spans 0 to 5 for x of shape"),
        ({"wrong_share": 1.0}, ValueError, r"wrong_share is 1\.0; expected a share of the frames"),
        ({"wrong_share": 0.5, "y": [0] * 8}, ValueError, "wrong_share is for labels of frames"),
        (
            {"y": torch.zeros(8, 5, dtype=torch.long)},
            ValueError,
            r"expected \(8,\), .* or \(8, 6\), one for each",
        ),
        ({"y": torch.full((8, 6), 4)}, ValueError, "y holds the label 4, but model has 4 logits"),
        (
            {"y": torch.zeros(8, 6)},
            TypeError,
            r"y has dtype torch\.float32; .* pass tolerance= \(--tolerance\)",
        ),
        ({"y": [0] * 8}, ValueError, r"model returns shape \(8, 6, 4\)"),
        ({"y": [0] * 8, "lengths": LENGTHS}, ValueError, r"\(8, 6, 4\) for 8 sequences with one label each"),
        ({"tolerance": -1.0}, ValueError, r"tolerance is -1\.0"),
        ({"tolerance": 1.0, "y": torch.zeros(8, 3)}, ValueError, r"\(8, 6, 4\) for targets \(8, 3\)"),
        ({"tolerance": 1.0, "y": torch.zeros(8, 4, 6)}, ValueError, r"\(8, 6, 4\) for targets \(8, 4, 6\)"),
        ({"tolerance": 1.0, "y": torch.zeros(7)}, ValueError, r"y has shape \(7,\); expected \(8, \.\.\.\)"),
        ({"tolerance": 1.0, "y": torch.full((8,), torch.nan)}, ValueError, "y has a NaN or infinite entry"),
        ({"tolerance": 1.0, "y": "targets"}, TypeError, "y is a str"),
        ({"tolerance": 1.0, "y": X.to_sparse()}, TypeError, "expected floats"),
        ({"frames": "any"}, ValueError, "frames is 'any'; expected one of 'all', 'each', 'worst'"),
        ({"x": X.half()}, TypeError, r"x holds torch\.float16, too coarse"),
        ({"x": X[:, 0], "y": [0] * 8, "frames": "each"}, ValueError, r"x of shape \(8, 3\) has no frames"),
    ],
)
def test_bad_questions_are_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(Reader("each"), **{"y": torch.zeros(8, 6, dtype=torch.long), **changes})


def test_bad_answers_are_refused() -> None:
    packed = pack_sequence([X[0]])
    with pytest.raises(TypeError, match="lengths is given beside a PackedSequence"):
        run(Reader(), packed, y=[0], lengths=[6])
    with pytest.raises(TypeError, match=r"model holds torch\.bfloat16, too coarse"):
        run(Reader().bfloat16(), y=[0] * 8)
    with pytest.raises(ValueError, match=r"model returns shape \(8, 4\) for labels \(8, 6\)"):
        run(Reader(), y=torch.zeros(8, 6, dtype=torch.long))

    class Words(nn.Module):
        def forward(self, x: torch.Tensor) -> str:
            return "one"

    with pytest.raises(TypeError, match="model returns str; expected a tensor of floats"):
        run(Words(), y=[0] * 8, lengths=LENGTHS)
    model = Reader("each")
    nn.init.constant_(model.head.bias, torch.nan)
    with pytest.raises(ValueError, match="NaN or infinite logits for 8 of 8"):
        run(model, y=torch.zeros(8, 6, dtype=torch.long))
