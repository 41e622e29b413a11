"""`spectra diagnose`: every matrix of a network, measured and put into words."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rnn import options
from rnn.terminal import print_records, printable, progress_of
from rnn.verbs.needs import need_extra
from rnn.verbs.padded import call_arguments
from rnn.verbs.texts import command_line

if TYPE_CHECKING:
    from rnn.comparison import Comparison
    from rnn.diagnosis import Diagnosis

_FINDINGS = 1  # exit code by --fail-on
_DIAGNOSED = (
    "name",
    "rows",
    "columns",
    "spectral_radius",
    "spectral_norm",
    "henrici_departure_relative",
    "eigenvector_condition_number",
    "pseudospectral_radius",
    "kreiss_constant",
)


def diagnose(
    checkpoint: options.Checkpoint,
    after: options.After = None,
    quick: options.Quick = False,
    epsilon: options.Epsilon = 0.1,
    largest: options.Largest = 2048,
    data: options.Data = None,
    model: options.Model = None,
    recurrent: options.Recurrent = None,
    orientation: options.Orientation = None,
    leak: options.Leak = None,
    dt: options.TimeStep = None,
    json_file: options.JsonFile = None,
    html_file: options.HtmlFile = None,
    csv_file: options.CsvFile = None,
    markdown_file: options.MarkdownFile = None,
    fail_on: options.FailOn = None,
    threads: options.Threads = None,
) -> None:
    """Measure every matrix of a trained network, and say what is worth knowing."""
    from rnn.files import check_spared, check_targets, write_whole

    to_stdout = json_file == Path("-")
    targets = {"--html": html_file, "--csv": csv_file, "--markdown": markdown_file}
    targets["--json"] = None if to_stdout else json_file
    check_targets(targets)
    check_spared(targets, (checkpoint, after, None if data is None else Path(data)))
    if fail_on not in (None, "notice", "warning"):
        raise ValueError(f"--fail-on is {fail_on!r}; expected notice or warning")
    if model is not None and data is None:
        raise ValueError("--model is only used with --data; give both")
    if after is not None and data is not None:
        raise ValueError("--data is for one network; leave AFTER or --data out")
    need_extra()

    import torch

    from rnn.findings import LEVELS

    torch.set_num_threads(threads or 1)
    wanted: dict[str, Any] = {"recurrent": recurrent, "orientation": orientation, "leak": leak, "dt": dt}
    wanted |= {"epsilon": epsilon, "quick": quick, "largest": largest, "threads": threads}
    result = _examined(checkpoint, after, data, model, wanted)
    if html_file is not None:
        with progress_of("pictured matrices") as progress:
            write_whole(html_file, result.to_html(command=command_line(), progress=progress))
    contents = {"--csv": result.to_csv, "--markdown": result.to_markdown, "--json": result.to_json}
    for name, content in contents.items():
        path = targets[name]
        if path is not None:
            write_whole(path, content())
    if to_stdout:
        typer.echo(result.to_json(), nl=False)
    else:
        _print_result(result, checkpoint.name if after is None else f"{checkpoint.name} -> {after.name}")
        for name, path in targets.items():
            if path is not None:
                typer.echo(printable(f"{name.removeprefix('--')}: {path}"))
    if fail_on is not None and LEVELS.index(result.level) >= LEVELS.index(fail_on):
        raise typer.Exit(_FINDINGS)


def _examined(
    checkpoint: Path, after: Path | None, data: str | None, model: str | None, wanted: dict[str, Any]
) -> Diagnosis | Comparison:
    from rnn.comparison import compare
    from rnn.examination import diagnose

    # what a network prints is kept apart from what the command prints
    with progress_of("matrices") as progress, contextlib.redirect_stdout(sys.stderr):
        if after is not None:
            return compare(checkpoint, after, progress=progress, **wanted)
        if data is not None:
            from rnn.reading.rebuilding import read_data, rebuilt_model

            if Path(data).suffix.lower() == ".npz":
                from rnn.reading.labelled_examples import model_and_examples

                network, shown = model_and_examples(checkpoint, factory=model, data=data, labelled=False)
                wanted = wanted | {"data": call_arguments(network, shown), "model": network}
            else:
                wanted = wanted | {"data": read_data(data), "model": rebuilt_model(checkpoint, model)}
        return diagnose(checkpoint, progress=progress, **wanted)


def _print_result(result: Diagnosis | Comparison, title: str) -> None:
    from rnn.diagnosis import Diagnosis

    table = result.table if isinstance(result, Diagnosis) else result.summary
    continuous = "dynamics" in table.columns and (table["dynamics"] == "continuous").any()
    names = [*_DIAGNOSED[:4], *(["spectral_abscissa"] if continuous else []), *_DIAGNOSED[4:]]
    shown = [name for name in names if name in table.columns and table[name].notna().any()]
    if len(table):
        heads = {name: name.replace("_", " ") for name in shown}  # which a narrow terminal can break
        print_records(table[shown].rename(columns=heads).to_dict("records"), title=title)
    typer.echo(printable(str(result)))
