import dataclasses

import numpy as np
import pytest
import torch

from rnn.motion.cells import UnrolledCell
from rnn.motion.drives import cell_drive
from rnn.motion.layer_dynamics import layer_dynamics
from rnn.pages.dynamics_figures import (
    draw_exponents,
    draw_fixed_points,
    draw_fixed_spectra,
    draw_growth,
    draw_step_jacobians,
)


@pytest.fixture(scope="module")
def found():
    W = torch.tensor([[1.5, 1.0], [0.0, 0.3]], dtype=torch.float64)
    cell = UnrolledCell("tanh", {"weight_ih": torch.ones(2, 1), "weight_hh": W})
    x = torch.randn(4, 12, 1, generator=torch.Generator().manual_seed(0))
    return layer_dynamics(cell_drive(cell, x, lengths=[12, 12, 12, 5]), epsilon=0.1)


def texts(ax):
    return ax.get_xlabel(), ax.get_ylabel(), [text.get_text() for text in ax.get_legend().get_texts()]


def test_growth_shows_three_curves(found):
    (ax,) = draw_growth(found.growth).axes
    largest, mean, alone = (line.get_ydata() for line in ax.lines[:3])
    np.testing.assert_array_equal(largest, found.growth.log10_largest)
    np.testing.assert_array_equal(mean, found.growth.log10_mean)
    np.testing.assert_array_equal(alone, found.growth.log10_of_mean_jacobian)
    x, y, labels = texts(ax)
    assert "steps" in x
    assert "log10" in y
    assert len(labels) == 3


def test_what_is_not_finite_is_left_out(found):
    growth = dataclasses.replace(found.growth, log10_mean=np.full_like(found.growth.log10_mean, -np.inf))
    (ax,) = draw_growth(growth).axes
    assert np.isnan(ax.lines[1].get_ydata()).all()


def test_each_step_shows_the_median_of_the_sequences_that_have_it(found):
    (ax,) = draw_step_jacobians(found).axes
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.nanmedian(found.norms, axis=0))
    np.testing.assert_allclose(ax.lines[1].get_ydata(), np.nanmedian(found.radii, axis=0))
    assert ax.get_ylim()[0] == 0
    assert len(ax.collections) == 2


def test_exponents_have_their_errors(found):
    (ax,) = draw_exponents(found.lyapunov).axes
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), found.lyapunov.exponents)
    bars = [segment[:, 1] for segment in ax.collections[0].get_segments()]
    np.testing.assert_allclose([bar[1] - bar[0] for bar in bars], 2 * found.lyapunov.errors)


def test_fixed_points_have_the_marker_of_their_kind(found):
    kinds = sorted(set(found.points.kinds.tolist()))
    for figure in (draw_fixed_points(found.points), draw_fixed_spectra(found.points)):
        (ax,) = figure.axes
        labels = [label for label in texts(ax)[2] if label != "unit circle"]
        assert sorted(labels) == kinds
    assert ax.get_aspect() == 1


def test_no_point_cannot_be_drawn(found):
    fields = ("states", "kinds", "speeds", "errors", "spectral_radii", "unstable_dimensions")
    fields += ("eigenvalues", "jacobians", "found")
    none = dataclasses.replace(found.points, **{name: getattr(found.points, name)[:0] for name in fields})
    for draw in (draw_fixed_points, draw_fixed_spectra):
        with pytest.raises(ValueError, match="points holds none"):
            draw(none)
