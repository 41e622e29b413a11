"""`spectra kicks`: how far a kicked state departs, beside what theory predicts."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from rnn import options
from rnn.terminal import printable, progress_of
from rnn.verbs.needs import need_extra
from rnn.verbs.texts import numbers


def kicks(
    checkpoint: options.Checkpoint,
    size: Annotated[
        str, typer.Option(help="Lengths of the kicks, in the units of the state.", metavar="S,..")
    ] = "0.01,1",
    at: Annotated[int, typer.Option(help="Kick the state before this step, from 0.")] = 0,
    draws: Annotated[int, typer.Option(help="Random directions for each sequence.")] = 10,
    data: Annotated[
        str | None,
        typer.Option(help="A .npy file, x in a .npz file, or a task. Default: the checkpoint's test set."),
    ] = None,
    model: options.Model = None,
    examples: options.Examples = None,
    seed: options.Seed = 0,
    threads: options.Threads1 = 1,
    out: Annotated[Path | None, typer.Option(help="Draw growth over time here.", metavar="FILE.png")] = None,
    force: options.Force = False,
) -> None:
    """Kick the state of a recurrent network, and compare its growth with linear theory."""
    from rnn.files import check_spared, check_unused, write_whole

    check_unused({"--out": out}, endings={"--out": (".png",)}, force=force)
    check_spared({"--out": out}, (checkpoint, None if data is None else Path(data)))
    sizes = numbers(size, "--size")
    need_extra()

    import torch

    from rnn.motion.kick_figures import draw_kicks
    from rnn.motion.kicks import state_kicks
    from rnn.pages.images import figure_png
    from rnn.reading.labelled_examples import model_and_examples

    torch.set_num_threads(threads)
    found = []
    with progress_of("sizes") as progress, contextlib.redirect_stdout(sys.stderr):
        network, shown = model_and_examples(
            checkpoint, factory=model, data=data, count=examples, labelled=False
        )
        progress(0, len(sizes))
        for done, length in enumerate(sizes, start=1):
            found.append(state_kicks(network, shown.x, size=length, at=at, draws=draws, rng=seed))
            progress(done, len(sizes))
    image = None if out is None else figure_png(draw_kicks(found))
    for record in found:
        typer.echo(printable(str(record)))
    if out is not None and image is not None:
        write_whole(out, image)
        typer.echo(printable(f"figure: {out}"))
