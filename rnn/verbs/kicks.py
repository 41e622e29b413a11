"""`spectra kicks`: how far a kicked state departs, beside what theory predicts."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnn import options
from rnn.terminal import printable, progress_of
from rnn.verbs.needs import need_extra
from rnn.verbs.padded import call_arguments
from rnn.verbs.texts import command_line, numbers

if TYPE_CHECKING:
    from rnn.motion.kicks import StateKicks


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
    json_file: options.JsonFile = None,
    out: Annotated[Path | None, typer.Option(help="Draw growth over time here.", metavar="FILE.png")] = None,
    force: options.Force = False,
) -> None:
    """Kick the state of a recurrent network, and compare its growth with linear theory."""
    from rnn.files import check_spared, check_unused, write_whole

    to_stdout = json_file == Path("-")
    targets = {"--json": None if to_stdout else json_file, "--out": out}
    check_unused(targets, endings={"--out": (".png",)}, force=force)
    check_spared(targets, (checkpoint, None if data is None else Path(data)))
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
        given = call_arguments(network, shown)
        progress(0, len(sizes))
        for done, length in enumerate(sizes, start=1):
            found.append(state_kicks(network, given, size=length, at=at, draws=draws, rng=seed))
            progress(done, len(sizes))
    about = {"command": command_line(), "network": checkpoint.name, "data": shown.name, "seed": seed}
    rows = [row for record in found for row in _rows(record)]
    plain = {"at": at, "draws": draws, "examples": len(shown.x)} | _theory(found[0])
    text = json.dumps(about | plain | {"rows": rows}, indent=2, allow_nan=False) + "\n"
    image = None if out is None else figure_png(draw_kicks(found))
    if json_file is not None and not to_stdout:
        write_whole(json_file, text)
    if out is not None and image is not None:
        write_whole(out, image)
    if to_stdout:
        typer.echo(text, nl=False)
        return
    for record in found:
        typer.echo(printable(str(record)))
    for label, path in (("json", targets["--json"]), ("figure", out)):
        if path is not None:
            typer.echo(printable(f"{label}: {path}"))


def _rows(found: StateKicks) -> list[dict[str, Any]]:
    """Give a row for each kind of kick: medians over kicks and trajectories, after each number of steps."""
    import numpy as np

    rows = []
    for kind in dict.fromkeys(map(str, found.directions)):
        chosen = found.directions == kind
        row: dict[str, Any] = {"kind": kind, "size": found.size}
        row["largest_distance"] = float(np.median(found.distances[chosen].max(axis=2)))
        row["distances"] = _numbers(np.median(found.distances[chosen], axis=(0, 1)))
        row["linear"] = _numbers(np.median(found.linear[chosen], axis=(0, 1)))
        row["changed"] = float(found.changed[chosen].mean()) if len(found.changed) else None
        rows.append(row)
    return rows


def _theory(found: StateKicks) -> dict[str, Any]:
    """Give what does not depend on the size of the kick."""
    import numpy as np

    return {
        "norms": _numbers(np.median(found.norms, axis=0)),
        "of_mean_jacobian": _numbers(found.of_mean_jacobian),
        "mean_lower": _numbers(found.mean_lower),
        "kreiss_lower": _numbers(found.kreiss_lower),
        "unjudged": found.unjudged,
    }


def _numbers(values: Any) -> Any:
    """Give plain numbers, None for infinite ones, of which JSON has none."""
    if isinstance(values, float):
        return values if math.isfinite(values) else None
    return [_numbers(value) for value in values.tolist()]
