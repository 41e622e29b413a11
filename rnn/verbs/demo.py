"""`spectra demo`: the whole way, from training to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnn.terminal import print_table, progress_of
from rnn.verbs.needs import need_extra


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for report, tables and figures.", metavar="DIR", show_default=False)
    ],
    models: Annotated[int, typer.Option(help="Networks of each of the four families.")] = 12,
    seed: Annotated[int, typer.Option(help="Same seed, same numbers.")] = 0,
    workers: Annotated[
        int | None, typer.Option(help="Processes; one a core when left out.", show_default=False)
    ] = None,
) -> None:
    """Go the whole way: train on digits, measure spectra, attack, correlate, report."""
    need_extra()

    from rnn.measuring.measures import column_label
    from rnn.study.demo import OUTCOME, run_demo

    with progress_of("networks") as progress:
        result = run_demo(out, models_per_cell=models, seed=seed, workers=workers, progress=progress)
    counted = f"{len(result.models)} networks, {result.seconds:.0f} s"
    rows = [map(str, row) for row in result.summary.itertuples(index=False)]
    print_table(
        result.summary.columns, rows, title=f"Spearman correlation with {column_label(OUTCOME)}; {counted}"
    )
    for failure in result.failures:
        typer.echo(f"warning: {failure.config} failed: {failure.error}", err=True)
    for path in result.paths:
        typer.echo(str(path))
