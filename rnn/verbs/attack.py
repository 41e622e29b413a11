"""`spectra attack`: what attacks do to the accuracy of a network, and what is proven that they cannot do."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rnn import options
from rnn.terminal import print_records, printable, progress_of
from rnn.verbs.needs import need_extra
from rnn.verbs.texts import command_line, names, numbers, settings

if TYPE_CHECKING:
    from rnn.attacking.bracket_verdicts import RobustnessBracket


def attack(
    checkpoint: options.Checkpoint,
    method: options.Methods = "pgd",
    norm: options.Norm = "linf",
    budget: options.Budgets = "0.05,0.1",
    frames: options.Frames = "all",
    bounds: options.Bounds = None,
    option: options.MethodOptions = None,
    repeats: options.Repeats = 1,
    certify: options.Certify = False,
    data: options.LabelledData = None,
    model: options.Model = None,
    examples: options.Examples = None,
    tolerance: options.Tolerance = None,
    wrong_share: options.WrongShare = 0.0,
    seed: options.Seed = 0,
    batch_size: options.BatchSize = None,
    threads: options.Threads1 = 1,
    json_file: options.JsonFile = None,
    out: options.Record = None,
    plot: options.Plot = None,
    force: options.Force = False,
) -> None:
    """Attack a network: accuracy by method and budget, with intervals, a figure, and what is certified."""
    from rnn.files import check_spared, check_unused, write_whole

    to_stdout = json_file == Path("-")
    targets = {"--json": None if to_stdout else json_file, "--out": out, "--plot": plot}
    check_unused(targets, endings={"--out": (".npz",), "--plot": (".png",)}, force=force)
    check_spared(targets, (checkpoint, None if data is None else Path(data)))
    methods = settings(option or [], names(method, "--method"))
    limits = None if bounds in (None, "none") else numbers(bounds, "--bounds")
    wanted: dict[str, Any] = {"norm": norm, "budgets": numbers(budget, "--budget"), "frames": frames}
    wanted |= {"repeats": repeats, "certify": certify, "wrong_share": wrong_share}
    wanted |= {"rng": seed, "batch_size": batch_size}
    need_extra()

    import torch

    from rnn.attacking.brackets import robustness_bracket
    from rnn.reading.labelled_examples import model_and_examples

    torch.set_num_threads(threads)
    # what a network prints is kept apart from what the command prints
    with progress_of("attacks") as progress, contextlib.redirect_stdout(sys.stderr):
        network, judged = model_and_examples(checkpoint, factory=model, data=data, count=examples)
        wanted["bounds"] = judged.bounds if bounds is None else limits
        wanted["tolerance"] = judged.tolerance if tolerance is None else tolerance
        found = robustness_bracket(
            network, judged.x, judged.y, methods=methods, lengths=judged.lengths, progress=progress, **wanted
        )
    about: dict[str, Any] = {"command": command_line(), "network": checkpoint.name, "data": judged.name}
    about |= {"methods": methods, "seed": seed, "bounds": wanted["bounds"]}
    about |= {"tolerance": wanted["tolerance"], "wrong_share": wrong_share}
    if json_file is not None and not to_stdout:
        write_whole(json_file, found.to_json(about))
    if out is not None:
        found.save(out)
    if plot is not None:
        _draw(found, plot)
    if to_stdout:
        typer.echo(found.to_json(about), nl=False)
    else:
        _print(found, f"{checkpoint.name} on {judged.name}")
        for name, path in targets.items():
            if path is not None:
                typer.echo(printable(f"{name.removeprefix('--')}: {path}"))


def _draw(found: RobustnessBracket, path: Path) -> None:
    from rnn.attacking.curve_figures import draw_robustness
    from rnn.files import write_whole
    from rnn.pages.images import figure_png

    write_whole(path, figure_png(draw_robustness(found)))


def _print(found: RobustnessBracket, title: str) -> None:
    rows = []
    for row in found.rows:
        shown = {name: row[name] for name in ("method", "budget", "robust_accuracy")}
        shown |= {f"{found.level:.0%} interval": f"{row['lower']:.3f} .. {row['upper']:.3f}"}
        rows.append(shown | {name: row[name] for name in ("fooled", "fooling_rate", "mean_queries")})
        if "certified_accuracy" in row:
            rows[-1]["certified"] = row["certified_accuracy"]
    count = found.minimal_budget.shape[1]
    correct = round(found.clean_accuracy * count)
    counted = f"{correct} of {count} correct when clean ({found.clean_accuracy:.1%})"
    heads = [{name.replace("_", " "): value for name, value in row.items()} for row in rows]
    where = {"all": "", "each": " in each frame", "worst": " in one frame"}[found.frames]
    print_records(heads, title=f"{title}: {counted}, budgets in {found.norm}{where}")
