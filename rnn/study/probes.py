"""A probe: a tiny network on which a plan is tried before the work, so that wrong names are refused then."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch

from rnn.models import ModelConfig, build_model, in_mode, logits
from rnn.study.network_rows import AttackPlan, network_row


def check_asked(plan: AttackPlan, columns: Mapping[str, Sequence[str] | None]) -> None:
    """Refuse a plan that no network can be measured by, and columns that no network gives.

    Parameters
    ----------
    plan : AttackPlan
        What is to be done to each network.
    columns : mapping of str to sequence of str or None
        By the argument that names them; None asks for none.

    Raises
    ------
    TypeError
        If the plan is none, columns are no sequence of names, or as the attacks say.
    ValueError
        If a column is unknown, or as the attacks say.

    Notes
    -----
    A tanh network of width 3 is measured and attacked on two sequences, which takes a second at most.
    """
    if not isinstance(plan, AttackPlan):
        raise TypeError(f"plan is a {type(plan).__name__}; expected a rnn.AttackPlan")
    known = _columns(plan)
    for argument, names in columns.items():
        if isinstance(names, str):
            raise TypeError(f"{argument} is {names!r}; expected a sequence of names")
        for name in names or ():
            if name not in known:
                raise ValueError(
                    f"{argument} has {name!r}, which no network gives; there are {', '.join(known)}"
                )


def _columns(plan: AttackPlan) -> list[str]:
    model = build_model(ModelConfig("tanh", features=2, steps=3, hidden=3, classes=2, seed=0))
    x = torch.linspace(0, 1, 12).reshape(2, 3, 2)
    with in_mode(model, training=False), torch.no_grad():
        y = logits(model, x).argmax(1)  # right, so that there are outcomes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of attacks on a network that means nothing
        row = network_row(model, x, y, plan=plan).values
    return ["parameters", *row]
