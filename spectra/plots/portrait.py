"""The spectral portrait: contours of σ_min(zI - A) over the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spectra.plots.canvas import axes_or_new, draw_eigenvalues, draw_unit_circle, legend_below
from spectra.real_pseudospectra import RealPseudospectrum
from spectra.results import Pseudospectrum

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.contour import ContourSet

Floats = NDArray[np.float64]

_MOST_LEVELS = 8
_ROOM = 0.25  # width plus height of a line, in those of the frame, that leaves room for a label on it
_SPREAD = 1.02  # ratio of the values below which no levels between them are told apart
_VISIBLE = 0.005  # share of the grid points that a level must have on either side to be worth a contour


def plot_pseudospectrum(result: Pseudospectrum, ax: Axes | None = None) -> Axes:
    """Draw the boundaries σ_min(zI - A) = ε of the ε-pseudospectra, the eigenvalues and the unit circle.

    Parameters
    ----------
    result : Pseudospectrum
        The record to draw.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on, limited to the region of the record, with equal units in both directions.

    Raises
    ------
    TypeError
        If `result` is no `Pseudospectrum` or `ax` no Axes.

    Notes
    -----
    The levels are ``result.epsilons`` where the record has some, else at most eight round numbers that can be
    seen in the region. Darker is smaller. Where the values are at or below ``result.floor``, and so rounding
    noise, the plane is hatched; it is dotted where they are below ``result.storage_floor``, and so depend on
    digits that the stored entries lack.

    Examples
    --------
    >>> from spectra import gallery, plots, pseudospectrum
    >>> axes = plots.plot_pseudospectrum(pseudospectrum(gallery.grcar(20), epsilons=[1e-2, 1e-1]))
    >>> axes.figure.savefig("grcar.png")  # doctest: +SKIP
    """
    if not isinstance(result, Pseudospectrum):
        raise TypeError(f"result is a {type(result).__name__}; expected what spectra.pseudospectrum returns")
    return _draw(result, axes_or_new(ax, (6, 6)), r"$\sigma_{\min} = \varepsilon$")


def plot_real_pseudospectrum(result: RealPseudospectrum, ax: Axes | None = None) -> Axes:
    """Draw where real perturbations of norm ε can take the eigenvalues of a real matrix.

    Parameters
    ----------
    result : RealPseudospectrum
        The record to draw.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on, as by `plot_pseudospectrum`.

    Raises
    ------
    TypeError
        If `result` is no `RealPseudospectrum` or `ax` no Axes.

    Notes
    -----
    Needles on the real axis are one step of the grid wide whatever the grid: less is needed there than beside
    it.

    Examples
    --------
    >>> from spectra import gallery, plots, real_pseudospectrum
    >>> axes = plots.plot_real_pseudospectrum(real_pseudospectrum(gallery.ginibre(5, rng=1), shape=(9, 9)))
    >>> axes.get_xlabel()
    'Re z'
    """
    if not isinstance(result, RealPseudospectrum):
        raise TypeError(
            f"result is a {type(result).__name__}; expected what spectra.real_pseudospectrum returns"
        )
    finite = np.isfinite(result.distance)
    most = result.distance[finite].max(initial=result.floor)
    values = Pseudospectrum(
        x=result.x,
        y=result.y,
        sigma_min=np.where(finite, result.distance, 2.0 * most),
        lower=result.lower,
        upper=result.upper,
        computed=np.ones(result.distance.shape, dtype=bool),
        eigenvalues=result.eigenvalues,
        epsilons=np.zeros(0),
        floor=result.floor,
        storage_floor=0.0,
        rtol=0.0,
        delta=0.0,
        iterations=0,
    )
    return _draw(values, axes_or_new(ax, (6, 6)), r"least $\Vert E \Vert = \varepsilon$, $E$ real")


def _draw(result: Pseudospectrum, ax: Axes, meaning: str) -> Axes:
    ax.set(xlim=result.x[[0, -1]], ylim=result.y[[0, -1]], xlabel="Re z", ylabel="Im z", aspect="equal")
    ax.apply_aspect()  # labels are turned along their contours as these will be seen
    handles = [
        *draw_eigenvalues(result.eigenvalues, ax),
        *draw_unit_circle(ax),
        *_draw_levels(result, ax, meaning),
        *_draw_noise(result, ax),
    ]
    legend_below(ax, handles)
    return ax


def _draw_levels(result: Pseudospectrum, ax: Axes, meaning: str) -> Sequence[Artist]:
    import matplotlib as mpl
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.patheffects import withStroke

    levels = _levels(result)
    if levels.size == 0:
        return []
    values, marks = _log10_values(result), np.log10(levels)
    colours = mpl.colormaps["YlGnBu"](np.linspace(0.75, 0.1, levels.size))  # told apart by everybody
    ax.contourf(result.x, result.y, values, [values.min() - 1, *marks], colors=colours, zorder=1)
    lines = ax.contour(
        result.x, result.y, values, marks, colors="black", linewidths=0.7, linestyles="solid", zorder=3
    )
    names = dict(zip(lines.levels, map(_name, levels), strict=True))
    places = _label_places(lines, result)
    for mark, place in places.items():
        for text in ax.clabel(lines, [mark], manual=[place], fmt=names, fontsize=9, inline_spacing=2):
            text.set(path_effects=[withStroke(linewidth=2, foreground="white")], zorder=6)
    handles: list[Artist] = [Line2D([], [], color="black", linewidth=0.7, label=meaning)]
    for mark, colour in zip(lines.levels, colours, strict=True):
        if mark not in places:
            handles.append(Patch(fc=colour, ec="black", lw=0.7, label=rf"$\varepsilon =$ {names[mark]}"))
    return handles


def _draw_noise(result: Pseudospectrum, ax: Axes) -> Sequence[Artist]:
    from matplotlib.patches import Patch

    values, handles = _log10_values(result), []
    for level, colour, hatch, name in (
        (result.storage_floor, "none", "..", "digits not stored"),
        (result.floor, "0.8", "////", "rounding noise"),
    ):
        if level > 0 and (result.sigma_min <= level).mean() >= _VISIBLE:
            style: dict[str, Any] = {"colors": colour, "hatches": [hatch], "zorder": 2}
            ax.contourf(result.x, result.y, values, [values.min() - 1, np.log10(level)], **style)
            handles.append(Patch(facecolor=colour, hatch=hatch, label=f"{name}, below {level:.0e}"))
    return handles


def _log10_values(result: Pseudospectrum) -> Floats:
    return np.asarray(np.log10(_shown(result)))


def _shown(result: Pseudospectrum) -> Floats:
    """Give the values, where all that is a decade below the floor counts as that."""
    values = result.sigma_min
    return np.maximum(values, result.floor / 10 or values[values > 0].min(initial=1.0))


def _levels(result: Pseudospectrum) -> Floats:
    """Give the levels to draw, rising: those asked for, or round ones, as far as the region shows them."""
    values = _shown(result)
    if result.epsilons.size:
        return result.epsilons[(values.min() < result.epsilons) & (result.epsilons < values.max())]
    low, high = np.quantile(np.maximum(values, result.floor), [_VISIBLE, 1 - _VISIBLE])
    if not 0 < low * _SPREAD < high:
        return np.zeros(0)
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for multiples, enough in (([1], 4), ([1, 3], 4), ([1, 2, 5], 4), (range(1, 10), 3)):
        levels = np.outer(decades, multiples).ravel()
        levels = levels[(low < levels) & (levels < high)]
        if levels.size >= enough:
            stride = -(-levels.size // _MOST_LEVELS)  # above 1 for powers of ten only
            return levels[np.round(np.log10(levels)) % stride == 0]
    return np.geomspace(low, high, 6)[1:-1]


def _name(level: float) -> str:
    """Give a level in mathtext: 1, 0.2, 10^-3, 2·10^-3."""
    exponent = int(np.floor(np.log10(level) + 1e-12))
    mantissa = f"{level / 10.0**exponent:.3g}"
    if exponent in {0, 1} or (exponent in {-1, -2} and mantissa != "1"):
        return f"${level:.3g}$"
    power = f"10^{{{exponent}}}"
    return f"${power}$" if mantissa == "1" else rf"${mantissa}\cdot{power}$"


def _label_places(lines: ContourSet, result: Pseudospectrum) -> dict[float, tuple[float, float]]:
    """Give one place for the label of each level, on its longest line and far from all else, if it fits."""
    corner = np.array([result.x[0], result.y[0]])
    size = np.array([result.x[-1], result.y[-1]]) - corner
    eigenvalues = (np.column_stack([result.eigenvalues.real, result.eigenvalues.imag]) - corner) / size
    obstacles = [(point, 3.0) for point in eigenvalues]  # and how much nearer than the frame they may be
    places = {}
    for mark, segments in zip(lines.levels, lines.allsegs, strict=True):
        segments = [line for line in segments if len(line)]
        if not segments:
            continue
        longest = max(segments, key=lambda line: float(np.ptp(line / size, axis=0).sum()))
        if np.ptp(longest / size, axis=0).sum() < _ROOM:
            continue
        candidates = longest[:: max(1, len(longest) // 100)]
        relative = (candidates - corner) / size
        free = np.minimum(2 * np.minimum(relative, 1 - relative).min(axis=1), 0.3)
        for point, weight in obstacles:
            free = np.minimum(free, weight * np.linalg.norm(relative - point, axis=1))
        best = int(np.argmax(free))
        obstacles.append((relative[best], 1.0))
        places[float(mark)] = (float(candidates[best, 0]), float(candidates[best, 1]))
    return places
