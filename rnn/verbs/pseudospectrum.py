"""`spectra pseudospectrum`: the pseudospectra of one matrix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnn.terminal import print_table, printable, progress_of
from rnn.verbs.texts import numbers, whole_numbers

if TYPE_CHECKING:
    from spectra.results import Pseudospectrum
    from spectra.schur import SchurForm


def pseudospectrum(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.npy", help="A square matrix, from numpy.save.", exists=True, dir_okay=False
        ),
    ],
    epsilons: Annotated[
        str, typer.Option(help="Levels, in the units of the matrix.", metavar="E,E,..")
    ] = "1e-3,1e-2,1e-1",
    region: Annotated[
        str | None,
        typer.Option(help="Part of the complex plane; chosen when left out.", metavar="XMIN,XMAX,YMIN,YMAX"),
    ] = None,
    shape: Annotated[str, typer.Option(help="Rows and columns of the grid.", metavar="NY,NX")] = "100,100",
    rtol: Annotated[float, typer.Option(help="Relative error of a grid value.")] = 1e-6,
    threads: Annotated[
        int | None, typer.Option(help="Threads; all cores when left out.", show_default=False)
    ] = None,
    device: Annotated[
        str | None, typer.Option(help='Solve on a torch device such as "cuda".', show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what time and memory it takes.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Save the grid here.", metavar="FILE.npz")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw it here.", metavar="FILE.png")] = None,
) -> None:
    """Compute pseudospectra of a matrix: a table, and if wanted the grid and a figure."""
    from rnn.files import check_distinct, check_spared, check_target, read_matrix, write_whole

    check_target(out, "--out")
    check_target(figure, "--figure", (".png",))
    check_distinct(out, "--out", figure, "--figure")
    check_spared({"--out": out, "--figure": figure}, (file,))
    wanted = numbers(epsilons, "--epsilons")
    window = None if region is None else numbers(region, "--region")
    size = whole_numbers(shape, "--shape")

    import spectra
    from rnn.figures import draw_portraits
    from rnn.pages.images import figure_png

    matrix = read_matrix(file)
    if dry_run:
        is_real = matrix.dtype.kind != "c"
        typer.echo(
            f"{file.name}: {spectra.grid_cost(len(matrix), shape=size, is_real=is_real, threads=threads)}"
        )
        return
    A = spectra.schur_form(matrix)
    options = {"region": window, "shape": size, "epsilons": wanted, "rtol": rtol}
    with progress_of("grid") as progress:
        result = spectra.pseudospectrum(A, **options, threads=threads, device=device, progress=progress)
    rows = _values(A, result, wanted)
    if result.storage_floor > 0:
        rows += [(f"floor by storage in {matrix.dtype}", f"{result.storage_floor:.2g}", "")]
    print_table(("quantity", "value", "interval"), rows, title=file.name)
    typer.echo(str(result))
    if out is not None:
        result.save(out)
        typer.echo(f"grid: {out}")
    if figure is not None:
        write_whole(figure, figure_png(draw_portraits({printable(file.name): result})))
        typer.echo(f"figure: {figure}")


def _values(A: SchurForm, grid: Pseudospectrum, epsilons: tuple[float, ...]) -> list[tuple[str, ...]]:
    """Rows of quantity, value, interval."""
    import spectra

    rows: list[tuple[str, ...]] = [("order n", f"{A.n}", "")]
    rows += [("spectral radius", f"{spectra.spectral_radius(A):.12g}", "")]
    rows += [("spectral norm", f"{spectra.spectral_norm(A):.12g}", "")]
    rows += [("Henrici departure", f"{spectra.henrici_departure(A):.12g}", "")]
    with progress_of("radii") as progress:
        for done, epsilon in enumerate(epsilons, start=1):
            radius = spectra.pseudospectral_radius(A, epsilon)
            interval = f"{radius.lower:.12g} .. {radius.upper:.12g}"
            rows += [(f"pseudospectral radius, epsilon {epsilon:g}", f"{radius.value:.12g}", interval)]
            progress(done, len(epsilons))
    return [*rows, ("rounding floor of sigma_min", f"{grid.floor:.2g}", "")]
