import itertools

import numpy as np
import pandas as pd
import pytest

from rnn.study.granulated import ALL_AXES, GRANULATED_COLUMNS, granulated_frame


def grid(seed=0, **columns):
    names = {
        "cell": ["gru", "lstm"],
        "optimiser": ["adam", "sgd"],
        "size": [16, 32, 64],
        "seed": [0, 1, 2, 3, 4],
    }
    frame = pd.MultiIndex.from_product(names.values(), names=list(names)).to_frame(index=False)
    rng = np.random.default_rng(seed)
    frame["m"] = rng.integers(0, 5, len(frame)).astype(float)
    frame["o"] = rng.standard_normal(len(frame))
    return frame.assign(**columns)


def coefficients(frame, axes=("optimiser", "size"), replicate="seed", draws=50, rng=0):
    found = granulated_frame(
        frame,
        measures=["m"],
        outcomes=["o"],
        axes=axes,
        blocks=["cell"],
        replicate=replicate,
        draws=draws,
        rng=np.random.default_rng(rng),
    )
    assert list(found.columns) == list(GRANULATED_COLUMNS)
    return found.set_index("axis")


def naive(frame, axis, others):
    """The definition: the mean over settings of all else of tau over pairs that differ in the axis."""
    taus = []
    for _, models in frame.groupby([*others, "cell", "seed"]):
        pairs = list(itertools.combinations(models[["m", "o"]].dropna().to_numpy(), 2))
        if pairs:
            taus.append(np.mean([np.sign(a[0] - b[0]) * np.sign(a[1] - b[1]) for a, b in pairs]))
    return np.mean(taus)


@pytest.mark.parametrize("holes", [False, True])
def test_equals_the_definition(holes):
    frame = grid()
    if holes:
        frame.loc[[1, 7, 8, 20], "m"] = np.nan
        frame.loc[[3, 7], "o"] = np.inf
        frame = frame.drop(index=[0, 30, 31, 44])
    plain = frame.replace(np.inf, np.nan)
    found = coefficients(frame)
    psi = [naive(plain, "optimiser", ["size"]), naive(plain, "size", ["optimiser"])]
    assert found.loc["optimiser", "kendall"] == pytest.approx(psi[0], abs=1e-12)
    assert found.loc["size", "kendall"] == pytest.approx(psi[1], abs=1e-12)
    assert found.loc[ALL_AXES, "kendall"] == pytest.approx(np.mean(psi), abs=1e-12)
    if not holes:
        assert list(found["sets"]) == [30, 20, 50]
        assert list(found["pairs"]) == [30, 60, 90]


def test_only_differences_in_the_axis_count():
    # The measure follows the outcome when the size changes, and runs against it when the optimiser does.
    frame = grid()
    against = 100.0 * (frame["optimiser"] == "sgd")
    frame["m"], frame["o"] = frame["size"] - against, frame["size"] + against
    found = coefficients(frame)
    assert found.loc["size", "kendall"] == 1.0
    assert found.loc["optimiser", "kendall"] == -1.0
    assert found.loc[ALL_AXES, "kendall"] == 0.0


def test_a_constant_measure_orders_nothing():
    found = coefficients(grid(m=2.0))
    assert (found["kendall"] == 0.0).all()


def test_intervals_resample_replicates_within_blocks():
    frame = grid(seed=3)
    found = coefficients(frame, draws=4000)
    sets = pd.Series(
        {key: naive(rows, "size", ["optimiser"]) for key, rows in frame.groupby(["cell", "seed"])}
    )
    within = sets.groupby(level=0).var(ddof=0).mean()
    error = np.sqrt(within / 5 / 2)
    width = found.loc["size", "upper"] - found.loc["size", "lower"]
    assert width == pytest.approx(2 * 2.306 * np.sqrt(10 / 8) * error, rel=0.1)  # Student's t, 8 degrees
    assert coefficients(frame, draws=4000, rng=0).equals(found)
    assert np.isnan(coefficients(frame[frame["seed"] == 0], replicate=None)["lower"]).all()
    assert np.isnan(coefficients(frame[frame["seed"] < 3])["lower"]).all()


def test_no_axes_no_coefficients():
    assert coefficients(grid(), axes=()).empty


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicate": None}, "two models agree in cell, optimiser, size"),
        ({"axes": ("size",)}, "two models agree"),
        ({"axes": ("cell", "size")}, "are blocks or the replicate"),
        ({"axes": ("absent",)}, "no column 'absent'"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        coefficients(grid(), **options)
