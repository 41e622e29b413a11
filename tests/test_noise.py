"""Noise has the norm of the budget and the distribution it names."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from rnn.attacking.noise import GaussianNoise, SaltNoise, UniformNoise
from rnn.attacking.objectives import Objective
from rnn.attacking.threats import Threat
from rnn.harness import attack
from spectra.errors import AccuracyWarning

KINDS = (GaussianNoise, UniformNoise, SaltNoise)
NAMES = ("noise-gaussian", "noise-uniform", "noise-salt")


def noisy(kind: type, norm: str, shape: tuple[int, ...] = (500, 10, 4), **options: float) -> torch.Tensor:
    """Perturbations of a clean input at 0; the model is never asked."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unasked = Objective(nn.Identity(), torch.zeros(shape[0], dtype=torch.long), torch.zeros(shape[0], 2))
    return kind(**options).perturb(
        unasked, torch.zeros_like(noise), Threat(norm, 0.3, None), noise=noise, turn=0
    )


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("kind", KINDS)
def test_its_norm_is_the_budget(kind: type, norm: str) -> None:
    lengths = Threat(norm, 0.3, None).length(noisy(kind, norm)).numpy()
    np.testing.assert_allclose(lengths, 0.3, rtol=1e-12)


def test_it_is_distributed_as_named() -> None:
    gaussian = noisy(GaussianNoise, "l2").flatten(1)
    scaled = gaussian * 40**0.5 / 0.3  # nearly standard normal
    assert scaled.mean().abs() < 0.02
    assert abs(float((scaled.abs() < 1).double().mean()) - 0.68) < 0.02
    uniform = noisy(UniformNoise, "linf").flatten()
    deciles = np.quantile(uniform.numpy(), np.arange(1, 10) / 10)
    np.testing.assert_allclose(deciles, 0.3 * (np.arange(1, 10) / 5 - 1), atol=0.02)
    for share, count in ((0.1, 4), (1.0, 40), (1e-6, 1)):
        salt = noisy(SaltNoise, "linf", share=share).flatten(1)
        assert ((salt.abs() - 0.3).abs() < 1e-12).sum(1).eq(count).all()
        assert (salt != 0).sum(1).eq(count).all()
        assert abs(float(salt.sum() / 0.3) / (500 * count)) < 0.15  # up as often as down


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_salt_moves_only_what_may_move(share: float) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    x = torch.rand(9, 4, 3, generator=torch.Generator().manual_seed(0))
    y, short = model(x).argmax(1), [1, 2, 3, 4, 1, 1, 2, 3, 4]
    keep = {"method": "noise-salt", "norm": "l2", "budget": 0.01, "share": share}
    for frames, lengths in (("worst", None), ("all", short), ("each", short), ("worst", short)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AccuracyWarning)  # of padding that the model looks at
            result = attack(model, x, y, frames=frames, lengths=lengths, **keep)
        moved = (result.perturbed != x).any(2)
        padding = torch.arange(4) >= torch.tensor(lengths or [4] * 9)[:, None]
        assert not (moved & padding).any()
        assert moved.any(1).all()
        assert frames != "worst" or moved.sum(1).eq(1).all()
        assert result.distances.min() > 0.0099 * (0.5 if frames == "each" else 1)


def test_salt_moves_the_entries_with_the_largest_draws() -> None:
    noise = torch.tensor([[[0.0, 0.0, 0.0], [0.1, -2.0, 1.0]]], dtype=torch.float64)
    unasked = Objective(nn.Identity(), torch.zeros(1, dtype=torch.long), torch.zeros(1, 2))
    for share, expected in ((0.1, [0, -1, 0]), (0.34, [0, -1, 1]), (1.0, [1, -1, 1])):
        moved = SaltNoise(share=share).perturb(
            unasked, torch.zeros_like(noise), Threat("linf", 1.0, None), noise=noise, turn=0
        )
        assert moved.tolist() == [[[0, 0, 0], expected]]


@pytest.mark.parametrize("method", NAMES)
def test_the_batch_size_changes_nothing_and_budgets_hold(method: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    x = torch.rand(9, 4, 3, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    whole, parts, other = (
        attack(model, x, y, method=method, norm="l2", budget=0.2, bounds=(0, 1), batch_size=size, rng=seed)
        for size, seed in ((None, 0), (4, 0), (None, 1))
    )
    assert torch.equal(whole.perturbed, parts.perturbed)
    assert not torch.equal(whole.perturbed, other.perturbed)
    assert whole.distances.max() <= 0.2 * (1 + 1e-5)


def test_more_rounds_turn_no_fewer() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    x = torch.rand(40, 4, 3, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    one, many = (
        attack(model, x, y, method="noise-gaussian", norm="l2", budget=1.0, rounds=rounds).success
        for rounds in (1, 20)
    )
    assert many.sum() > one.sum()
    assert not (one & ~many).any()


def test_options() -> None:
    for kind in KINDS:
        assert (kind().rounds, kind(rounds=7).rounds) == (1, 7)
        with pytest.raises(ValueError, match="rounds is 0"):
            kind(rounds=0)
    with pytest.raises(
        ValueError, match="share is 2; expected a share of the entries, above 0 and at most 1"
    ):
        SaltNoise(share=2)
