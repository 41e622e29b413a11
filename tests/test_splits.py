"""Every class keeps its share."""

import numpy as np
import pytest

from rnn.data.splits import stratified_choice


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [0, 1, 37, 150, 499, 500])
def test_every_example_once_and_every_class_at_its_share(size: int, seed: int) -> None:
    labels = np.repeat(np.arange(5), (292, 177, 10, 19, 2))
    np.random.default_rng(seed).shuffle(labels)
    chosen, others = stratified_choice(labels, size, seed=seed)
    assert len(chosen) == size
    assert sorted((*chosen, *others)) == [*range(500)]
    shares = np.bincount(labels) * size / 500
    assert np.abs(np.bincount(labels[chosen], minlength=5) - shares).max() < 1


def test_the_choice_is_shuffled_and_depends_on_the_seed() -> None:
    labels = np.arange(100) % 4
    one, again, other = (stratified_choice(labels, 40, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert sorted(one) != sorted(other)
    assert sorted(one) != one.tolist()
