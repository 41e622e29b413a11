"""The ensemble is its parts in order, and never weaker than one of them."""

import numpy as np
import pytest
import torch

from rnn.attacking.apgd import APGDCrossEntropy, APGDTargeted
from rnn.attacking.ensemble import Worst
from rnn.attacking.minimal_norms import FABTargeted
from rnn.attacking.objectives import Objective
from rnn.attacking.pgd import PGD
from rnn.attacking.square import Square
from rnn.attacking.threats import Threat
from rnn.harness import attack
from rnn.models import ModelConfig, build_model


def problem() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    model = build_model(ModelConfig("gru", features=4, steps=5, hidden=8, classes=4))
    x = torch.rand(40, 5, 4, generator=torch.Generator().manual_seed(0))
    return model, x, model(x).argmax(1)


def test_each_round_is_that_of_its_part() -> None:
    model, x, y = problem()
    seen, threat = Objective(model, y, model(x).detach()), Threat("linf", 0.02, (0.0, 1.0))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    worst = Worst(steps=3, classes=2, square=4)
    expected = [
        (APGDCrossEntropy(steps=3), 0),
        (APGDTargeted(steps=3, classes=2), 0),
        (APGDTargeted(steps=3, classes=2), 1),
        (FABTargeted(steps=3, classes=2, refine=False), 0),
        (FABTargeted(steps=3, classes=2, refine=False), 1),
        (PGD(rounds=3), 0),
        (PGD(rounds=3), 1),
        (PGD(rounds=3), 2),
        (Square(steps=4), 0),
    ]
    assert worst.rounds == len(expected)
    for turn, (part, own) in enumerate(expected):
        assert torch.equal(
            worst.perturb(seen, x, threat, noise=noise, turn=turn),
            part.perturb(seen, x, threat, noise=noise, turn=own),
        )
    with pytest.raises(ValueError, match="turn is 9 beyond the last round; expected less than 9"):
        worst.perturb(seen, x, threat, noise=noise, turn=9)


@pytest.mark.filterwarnings("ignore:.*may be weak")
@pytest.mark.parametrize(("norm", "budget"), [("linf", 0.03), ("l2", 0.12)])
def test_it_turns_whatever_its_first_part_turns(norm: str, budget: float) -> None:
    model, x, y = problem()
    one, all_of_them = (
        attack(model, x, y, method=method, norm=norm, budget=budget, bounds=(0, 1), steps=20).success
        for method in ("apgd-ce", "worst")
    )
    assert not (one & ~all_of_them).any()
    assert 0 < all_of_them.sum() < len(x)
    np.testing.assert_array_equal(
        all_of_them,
        attack(
            model, x, y, method="worst", norm=norm, budget=budget, bounds=(0, 1), steps=20, batch_size=9
        ).success,
    )


def test_options() -> None:
    assert (Worst().rounds, Worst(square=10).rounds) == (29, 30)
    for name, bad in (("steps", 0), ("classes", 0), ("square", -1)):
        with pytest.raises(ValueError, match=f"{name} is {bad}"):
            Worst(**{name: bad})
