"""Tables of models that never were, with known relations between their columns."""

import numpy as np
import pandas as pd

TASKS = ("digits", "mnist", "vowels")
CELLS = ("tanh", "gru", "lstm")


def spearman_to_pearson(rho):
    """Correlation of normal pairs with this rank correlation."""
    return 2 * np.sin(np.pi / 6 * rho)


def simulated_study(
    rng,
    *,
    tasks=TASKS,
    cells=CELLS,
    configurations=7,
    seeds=5,
    effects=(),
    nulls=1,
    within=0.5,
    tau=0.0,
    through=0.0,
    level=1.0,
    shared=0,
    training=0.0,
    shift=0.0,
):
    """Give a table with one row per model.

    effects: rank correlations of the measures effect0, effect1, ... with the outcome, in the mean over
    blocks, on Fisher's scale with deviation tau between them. null0, ...: measures without relation to the
    outcome, but by way of the accuracy, of which everything but radius and norm has `through` parts. within:
    share of the variance that a configuration decides. level: deviation of the means of the blocks. shared:
    the first so many configurations of a block are one training, which decides the share `training` of the
    variance; by `shift` deviations they are apart from the others.
    """
    grid = pd.MultiIndex.from_product(
        [tasks, cells, range(configurations), range(seeds)], names=["task", "cell", "configuration", "seed"]
    )
    frame = grid.to_frame(index=False)
    group = frame.groupby(["task", "cell", "configuration"]).ngroup().to_numpy()
    block = frame.groupby(["task", "cell"]).ngroup().to_numpy()

    together = frame["configuration"] < shared
    trained = frame["configuration"].mask(together, -1)
    network = frame.assign(trained=trained).groupby(["task", "cell", "trained", "seed"]).ngroup().to_numpy()

    def noise():
        own = np.sqrt(within) * rng.standard_normal(group.max() + 1)[group]
        values = own + np.sqrt(1 - within) * rng.standard_normal(len(frame))
        if not shared:
            return values
        apart = shift * rng.standard_normal(block.max() + 1)[block] * together
        return (
            apart
            + np.sqrt(training) * rng.standard_normal(network.max() + 1)[network]
            + np.sqrt(1 - training) * values
        )

    def shifted(values):
        return values + level * rng.standard_normal(block.max() + 1)[block]

    accuracy, outcome = noise(), noise()
    common = through * accuracy
    frame["clean_accuracy"] = shifted(accuracy)
    frame["spectral_radius"], frame["spectral_norm"] = shifted(noise()), shifted(noise())
    for k, effect in enumerate(effects):
        drawn = np.tanh(np.arctanh(effect) + tau * rng.standard_normal(block.max() + 1))
        r = spearman_to_pearson(drawn)[block]
        frame[f"effect{k}"] = shifted(common + r * outcome + np.sqrt(1 - r**2) * noise())
    for k in range(nulls):
        frame[f"null{k}"] = shifted(common + noise())
    frame["outcome"] = shifted(common + outcome)
    if shared:
        frame["together"] = together
    return frame


def measures_of(frame):
    return [name for name in frame if name.startswith(("effect", "null", "spectral"))]
