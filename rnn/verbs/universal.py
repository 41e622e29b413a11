"""`spectra universal`: one perturbation for all inputs, judged on examples that it was not sought on."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnn import options
from rnn.terminal import print_table, printable, progress_of
from rnn.verbs.needs import need_extra
from rnn.verbs.texts import command_line, numbers

if TYPE_CHECKING:
    from rnn.attacking.universal_verdicts import UniversalPerturbation


def universal(
    checkpoint: options.Checkpoint,
    norm: options.Norm = "linf",
    budget: Annotated[float, typer.Option(help="Largest norm of the perturbation.")] = 0.1,
    frames: Annotated[
        str, typer.Option(help="What the budget is for: all frames together, or each.")
    ] = "all",
    bounds: options.Bounds = None,
    held_out: Annotated[float, typer.Option(help="Share of the examples that only judge it.")] = 0.25,
    epochs: Annotated[int, typer.Option(help="Passes over the examples from each start.")] = 10,
    starts: Annotated[int, typer.Option(help="Starts of the search.")] = 4,
    data: options.LabelledData = None,
    model: options.Model = None,
    examples: options.Examples = None,
    tolerance: options.Tolerance = None,
    wrong_share: options.WrongShare = 0.0,
    seed: options.Seed = 0,
    batch_size: options.BatchSize = None,
    threads: options.Threads1 = 1,
    json_file: options.JsonFile = None,
    out: Annotated[
        Path | None, typer.Option(help="Save the record, with the perturbation.", metavar="FILE.npz")
    ] = None,
    force: options.Force = False,
) -> None:
    """Find one perturbation that turns as many predictions as possible, also of inputs it never saw."""
    from rnn.files import check_spared, check_unused, write_whole

    to_stdout = json_file == Path("-")
    targets = {"--json": None if to_stdout else json_file, "--out": out}
    check_unused(targets, endings={"--out": (".npz",)}, force=force)
    check_spared(targets, (checkpoint, None if data is None else Path(data)))
    limits = None if bounds in (None, "none") else numbers(bounds, "--bounds")
    wanted: dict[str, Any] = {"norm": norm, "budget": budget, "frames": frames, "held_out": held_out}
    wanted |= {"epochs": epochs, "starts": starts, "wrong_share": wrong_share, "rng": seed}
    need_extra()

    import torch

    from rnn.attacking.universal import universal_perturbation
    from rnn.reading.labelled_examples import model_and_examples

    torch.set_num_threads(threads)
    with progress_of("perturbations") as progress, contextlib.redirect_stdout(sys.stderr):
        network, judged = model_and_examples(checkpoint, factory=model, data=data, count=examples)
        wanted["bounds"] = judged.bounds if bounds is None else limits
        wanted["tolerance"] = judged.tolerance if tolerance is None else tolerance
        progress(0, 1)
        found = universal_perturbation(
            network, judged.x, judged.y, lengths=judged.lengths, batch_size=batch_size, **wanted
        )
    rows = _rows(found)
    about: dict[str, Any] = {"command": command_line(), "network": checkpoint.name, "data": judged.name}
    about |= {"seed": seed, "bounds": wanted["bounds"], "tolerance": wanted["tolerance"]}
    about |= {"wrong_share": wrong_share, "norm": norm, "budget": budget, "frames": frames}
    right = int(found.clean_correct.sum() + found.test_clean_correct.sum())
    about |= {"level": found.level, "examples": len(judged.x), "clean_accuracy": right / len(judged.x)}
    text = json.dumps(about | {"rows": rows, "signs": list(found.signs)}, indent=2, allow_nan=False) + "\n"
    if json_file is not None and not to_stdout:
        write_whole(json_file, text)
    if out is not None:
        found.save(out)
    if to_stdout:
        typer.echo(text, nl=False)
        return
    _print(found, rows, f"{checkpoint.name} on {judged.name}: one perturbation of {norm} {budget:g}")
    for name, path in targets.items():
        if path is not None:
            typer.echo(printable(f"{name.removeprefix('--')}: {path}"))


def _rows(found: UniversalPerturbation) -> list[dict[str, Any]]:
    parts = [("searched", found.fooled, found.clean_correct, found.fooling_rate, found.interval)]
    if found.test_clean_correct.any():
        held = (found.test_fooled, found.test_clean_correct, found.test_fooling_rate, found.test_interval)
        parts.append(("held out", *held))
    return [
        {
            "examples": name,
            "clean_correct": int(correct.sum()),
            "fooled": int(fooled.sum()),
            "fooling_rate": rate,
            "lower": float(interval[0]),
            "upper": float(interval[1]),
            "random_rate": found.random_rate,
        }
        for name, fooled, correct, rate, interval in parts
    ]


def _print(found: UniversalPerturbation, rows: list[dict[str, Any]], title: str) -> None:
    heads = ("examples", "clean correct", "fooled", "fooling rate", f"{found.level:.0%} interval")
    cells = [
        (
            row["examples"],
            f"{row['clean_correct']}",
            f"{row['fooled']}",
            f"{row['fooling_rate']:.4g}",
            f"{row['lower']:.3f} .. {row['upper']:.3f}",
        )
        for row in rows
    ]
    print_table(heads, cells, title)
    typer.echo(f"random perturbations of that norm fool {found.random_rate:.1%} in the mean")
