"""`spectra correlate`: what goes with robustness among the checkpoints of a folder."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnn import options
from rnn.terminal import print_records, printable, progress_of
from rnn.verbs.interrupts import told_when_interrupted
from rnn.verbs.needs import need_extra
from rnn.verbs.texts import command_line, names, numbers

if TYPE_CHECKING:
    from rnn.study.model_correlations import ModelCorrelations

_SHOWN = 5  # measures of each outcome on the terminal

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="Folder of checkpoints: .pt .pth .ckpt .safetensors .npz .onnx, also in subfolders.",
        exists=True,
        file_okay=False,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="Arrays x, y, and lengths if they differ; or a task. Default: each checkpoint's own test set.",
        metavar="FILE.npz",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Function that builds the network; its code is run. Checkpoints of `spectra` need none.",
        metavar="MODULE:NAME",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="Keep rows, tables and a page here; run again to go on.", metavar="FOLDER"),
]
Minimal = Annotated[
    str, typer.Option(help="Norms in which the nearest misclassified point is sought, or none.")
]
By = "subfolder, or a regular expression whose group in the path is the label."
GroupBy = Annotated[
    str | None,
    typer.Option(help=f"Compare models only within a group: {By} Default: architecture.", metavar="LABEL"),
]
ClusterBy = Annotated[
    str | None,
    typer.Option(help=f"Models that belong together, as checkpoints of one training: {By}", metavar="LABEL"),
]
Columns = Annotated[
    str | None, typer.Option(help="Columns to correlate; fewer make stricter tests.", metavar="NAME,..")
]
Workers = Annotated[
    int | None, typer.Option(help="Processes; one a core when left out.", show_default=False, min=1)
]


def correlate(
    folder: Folder,
    data: Data = None,
    model: Model = None,
    out: Out = None,
    method: options.Methods = "pgd,apgd-ce",
    norm: options.Norm = "linf",
    budget: options.Budgets = "0.02,0.05,0.1",
    minimal: Minimal = "l2",
    bounds: options.Bounds = None,
    tolerance: options.Tolerance = None,
    examples: Annotated[int, typer.Option(help="How many are attacked, drawn at random.")] = 300,
    group_by: GroupBy = None,
    cluster_by: ClusterBy = None,
    measures: Columns = None,
    outcomes: Columns = None,
    workers: Workers = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed files again.")] = False,
    seed: options.Seed = 0,
    json_file: options.JsonFile = None,
    force: options.Force = False,
) -> None:
    """Measure and attack the checkpoints of a folder: what goes with robustness among them."""
    from rnn.files import check_spared, check_unused

    target = {"--json": None if json_file == Path("-") else json_file}
    check_unused(target, endings={}, force=force)
    check_spared(target, (folder, None if data is None else Path(data)))
    wanted: dict[str, Any] = {"data": data, "factory": model, "out": out, "examples": examples}
    wanted |= {"group_by": group_by, "cluster_by": cluster_by, "tolerance": tolerance, "rng": seed}
    wanted |= {"workers": workers, "retry_failed": retry_failed}
    limits = {None: "data", "none": None}
    wanted["bounds"] = limits[bounds] if bounds in limits else numbers(str(bounds), "--bounds")
    for name, text in (("measures", measures), ("outcomes", outcomes)):
        wanted[name] = None if text is None else names(text, f"--{name}")
    methods, budgets = names(method, "--method"), numbers(budget, "--budget")
    nearest = () if minimal == "none" else names(minimal, "--minimal")
    need_extra()

    from rnn.study.checkpoint_folder import correlate_checkpoints
    from rnn.study.network_rows import AttackPlan

    wanted["plan"] = AttackPlan(methods, ((norm, budgets),), nearest)
    kept = (
        f"what is finished is kept in {out}: the same command goes on" if out else "nothing is kept: no --out"
    )
    # what a network prints is kept apart from what the command prints
    with (
        told_when_interrupted(printable(kept)),
        progress_of("models", told=True) as progress,
        contextlib.redirect_stdout(sys.stderr),
    ):
        found = correlate_checkpoints(folder, progress=progress, **wanted)
    written = () if out is None else found.write(out, command=command_line())
    _tell(found, folder, json_file, {"command": command_line(), "folder": str(folder), "seed": seed}, written)


def _tell(
    found: ModelCorrelations,
    folder: Path,
    json_file: Path | None,
    about: dict[str, Any],
    written: tuple[Path, ...],
) -> None:
    from rnn.files import write_whole

    if json_file == Path("-"):
        typer.echo(found.to_json(about), nl=False)
    else:
        if json_file is not None:
            write_whole(json_file, found.to_json(about))
        _print(found, folder.name)
        for path in (*written, *([] if json_file is None else [json_file])):
            typer.echo(printable(str(path)))
    for name, reason in found.unread:
        typer.echo(printable(f"left out: {name}: {reason}"), err=True)
    for name, error in found.failures:
        typer.echo(printable(f"warning: {name} failed: {error}"), err=True)


def _print(found: ModelCorrelations, name: str) -> None:
    from rnn.study.correlation_findings import interval, label

    table = found.table
    for outcome, part in table.groupby("outcome", sort=False) if len(table) else ():
        rows = [
            {
                "measure": label(row["measure"]) + (" *" if row["alike"] else ""),
                "Spearman's correlation": interval(row),
                "Holm's p": f"{row['holm']:.2g}",
                "partial": interval(row, "partial"),
                "gain": interval(row, "gain"),
            }
            for row in part.head(_SHOWN).to_dict("records")
        ]
        print_records(rows, title=f"{name}: {label(str(outcome))}, the strongest of {len(part)} measures")
    if len(table) and table["alike"].any():
        typer.echo("* must go with this outcome by what both are")
    models = f"{len(found.rows)} models measured"
    typer.echo(f"{models}; {found.note}." if found.note else f"{models}.")
    for sentence in found.findings:
        typer.echo(printable(sentence))
