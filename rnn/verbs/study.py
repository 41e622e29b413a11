"""`spectra study`: many networks trained, measured and attacked; begun, watched, taken up again, reported."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnn import options
from rnn.terminal import print_records, printable, progress_of
from rnn.verbs.interrupts import told_when_interrupted
from rnn.verbs.needs import need_extra

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from rnn.study.status import StudyStatus

_LISTED = 10  # failures on the terminal
_PAUSE = 2.0  # seconds between two looks at a run

app = typer.Typer(
    help="Train, measure and attack many networks, resumably; then report.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of the study.", exists=True, file_okay=False)
]
Workers = Annotated[
    int | None, typer.Option(help="Processes; one a core when left out.", show_default=False, min=1)
]
Dask = Annotated[
    str | None,
    typer.Option(help="Run on this Dask scheduler instead, such as tcp://host:8786.", metavar="ADDRESS"),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run failed trials again.")]
Limit = Annotated[int | None, typer.Option(help="Run at most N trials now.", metavar="N")]
Only = Annotated[
    list[str] | None,
    typer.Option(help="Only networks with this value; may be repeated.", metavar="COLUMN=VALUE[,VALUE]"),
]
DataRoot = Annotated[
    Path | None, typer.Option(help="Folder of the data files; else SPECTRA_DATA.", metavar="DIR")
]


@app.command()
def run(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A TOML file, or a study of `spectra study list`.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of the study: database, weights, curves.", metavar="DIR", show_default=False
        ),
    ],
    workers: Workers = None,
    dask: Dask = None,
    retry_failed: RetryFailed = False,
    limit: Limit = None,
    data_root: DataRoot = None,
) -> None:
    """Run a study, or go on with it: every trial that has not finished yet.

    Trials that fail are counted, told, and no reason to exit with an error.
    """
    need_extra()

    from rnn.study.runs import run_study

    with _working(out, dask) as given, contextlib.redirect_stdout(sys.stderr):
        status = run_study(
            study, out, workers=workers, retry_failed=retry_failed, limit=limit, data_root=data_root, **given
        )
    _tell(status)


@app.command()
def resume(
    folder: Folder,
    workers: Workers = None,
    dask: Dask = None,
    retry_failed: RetryFailed = False,
    limit: Limit = None,
    data_root: DataRoot = None,
) -> None:
    """Go on with the study of a folder, without its file."""
    need_extra()

    from rnn.study.checkpoint_folder import STUDY
    from rnn.study.runs import resume_study
    from rnn.study.status import study_status

    if study_status(folder).name == STUDY:
        raise ValueError(f"{folder} holds {STUDY}: run `spectra correlate` with --out {folder} again")
    with _working(folder, dask) as given, contextlib.redirect_stdout(sys.stderr):
        status = resume_study(
            folder, workers=workers, retry_failed=retry_failed, limit=limit, data_root=data_root, **given
        )
    _tell(status)


@app.command()
def status(
    folder: Folder,
    watch: Annotated[bool, typer.Option("--watch", help="Look on until the run ends.")] = False,
    json_file: options.JsonFile = None,
    force: options.Force = False,
) -> None:
    """Tell how far a study is, also while it runs."""
    from rnn.files import check_unused, write_whole

    to_stdout = json_file == Path("-")
    check_unused({"--json": None if to_stdout else json_file}, endings={}, force=force)
    need_extra()

    from rnn.study.status import study_status

    found = study_status(folder)
    if watch and found.live:
        with progress_of("trials", told=True) as progress:
            while found.live:
                progress(found.done + found.failed, found.total, _left(found))
                time.sleep(_PAUSE)
                found = study_status(folder)
    content = json.dumps(_plain(found), indent=2) + "\n"
    if json_file is not None and not to_stdout:
        write_whole(json_file, content)
    if to_stdout:
        typer.echo(content, nl=False)
    else:
        _print(found)


@app.command()
def report(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option(help="Write page, tables and figures here.", metavar="FOLDER")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write only the page.", metavar="FILE.html")
    ] = None,
    only: Only = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Column that makes the groups of the table, such as cell; may be repeated.", metavar="COLUMN"
        ),
    ] = None,
    seed: options.Seed = 0,
    force: options.Force = False,
) -> None:
    """Report on a study: networks and verdicts; with --out or --html also what goes with robustness."""
    from rnn.files import check_unused, write_whole

    check_unused({"--html": html_file}, endings={"--html": (".html",)}, force=force)
    if out is not None and out.exists() and not out.is_dir():
        raise ValueError(f"--out is {out}, which is no folder; name one, or --html {out}")
    if by and (out or html_file):
        raise ValueError("--by is for the table on the terminal; leave out --out and --html, or --by")
    if seed and not (out or html_file):
        raise ValueError(
            "--seed is for resamples, which only --out and --html take; name one, or leave it out"
        )
    need_extra()
    if out is None and html_file is None:
        _print_summary(folder, _only(only), by)
        return

    from rnn.study.study_report import study_report

    with progress_of("parts") as progress:
        found = study_report(folder, only=_only(only), rng=seed, progress=progress)
    paths = [] if out is None else list(found.write(out))
    if html_file is not None:
        write_whole(html_file, found.to_html())
        paths.append(html_file)
    typer.echo(printable(str(found)))
    for path in paths:
        typer.echo(printable(str(path)))


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Ends in .csv or .parquet.", metavar="FILE", show_default=False)],
    every: Annotated[
        bool, typer.Option("--every", help="Also trials that are no longer part of the study.")
    ] = False,
    only: Only = None,
    force: options.Force = False,
) -> None:
    """Write the finished trials as one table."""
    from rnn.files import check_unused

    check_unused({"--out": out}, endings={"--out": (".csv", ".parquet")}, force=force)
    need_extra()

    from rnn.study.tables import export_study

    typer.echo(printable(str(export_study(folder, out, every=every, only=_only(only)))))


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="A study of `spectra study list`.")],
) -> None:
    """Print the TOML file of a study that comes with the package, to begin one of your own with."""
    need_extra()

    from rnn.study.configuration import shipped_text

    typer.echo(shipped_text(name), nl=False)


@app.command("list")
def listing() -> None:
    """List the studies that come with the package: spectra study run NAME --out DIR."""
    need_extra()

    from rnn.study.configuration import read_study, shipped_studies

    for name in shipped_studies():
        study = read_study(name)
        typer.echo(f"{name}: {len(study.trials)} trials")
        typer.echo(textwrap.indent(textwrap.fill(study.description.partition("\n\n")[0], 100), "    "))


@app.command()
def restore(folder: Folder) -> None:
    """Put a damaged database aside, and take what is finished from its backup and the files of the trials."""
    need_extra()

    from rnn.study.runs import restore_study

    _print(restore_study(folder))


@contextlib.contextmanager
def _working(folder: Path, address: str | None) -> Iterator[dict[str, Any]]:
    """Give what a run is given beside its options: where it runs, and who is told how far it is."""
    from rnn.study.executors import dask_executor

    go_on = f"what is finished is kept; to go on: spectra study resume {shlex.quote(str(folder))}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(told_when_interrupted(printable(go_on)))
        executor: Executor | None = stack.enter_context(dask_executor(address)) if address else None
        progress = stack.enter_context(progress_of("trials", told=True))
        try:
            yield {"executor": executor, "progress": progress}
        except RuntimeError as error:
            if type(error) is RuntimeError:  # no worker starts, or the executor breaks
                raise ValueError(str(error)) from error
            raise


def _left(status: StudyStatus) -> str:
    """Say in a few words how far a run is, beside a bar."""
    from rnn.study.status import duration

    left = f", about {duration(status.seconds_left)} left" if status.seconds_left else ""
    failed = f", {status.failed} failed" if status.failed else ""
    return f"{status.done} of {status.total}{failed}{left}"


def _tell(status: StudyStatus) -> None:
    """Print how far a study is after a run, and warn of what is amiss."""
    _print(status)
    folder = shlex.quote(str(status.folder))
    if status.failed:
        again = f"spectra study resume {folder} --retry-failed"
        typer.echo(f"warning: {status.failed} trials failed; to try them again: {again}", err=True)
    if status.absent:
        typer.echo(f"warning: {status.absent} trials wait for data that are not there", err=True)
    if status.other:
        typer.echo(
            f"warning: {status.other} finished trials of other configurations are kept, and not counted",
            err=True,
        )
    left = status.pending - status.absent
    if left:
        typer.echo(f"{left} trials are left: spectra study resume {folder}")
    elif status.done:
        typer.echo(printable(f"next: spectra study report {folder} --out FOLDER"))


def _print(status: StudyStatus) -> None:
    rows = [
        {"task": task, "cell": cell, "finished": done, "failed": failed, "of": total}
        for task, cell, done, failed, total in status.blocks
    ]
    if rows:
        print_records(rows, title=str(status))
    else:
        typer.echo(printable(str(status)))
    if status.run:
        typer.echo(printable(f"last run: {status.run}"))
    for label, error in status.failures[:_LISTED]:
        typer.echo(printable(f"failed: {label}: {error}"))
    if len(status.failures) > _LISTED:
        typer.echo(f"and {len(status.failures) - _LISTED} more; --json - lists all")
    for task, reason in status.missing:
        typer.echo(printable(f"no data for {task}: {reason}"))


def _only(texts: list[str] | None) -> dict[str, object]:
    """Give what --only asks for: the values of each column."""
    found: dict[str, object] = {}
    for text in texts or ():
        name, sign, values = text.partition("=")
        if not (name and sign and values):
            raise ValueError(
                f"--only is {text!r}; expected COLUMN=VALUE or COLUMN=VALUE,VALUE, such as cell=gru"
            )
        if name in found:
            raise ValueError(f"--only names {name} twice; give its values as {name}=VALUE,VALUE")
        found[name] = values.split(",")
    return found


def _print_summary(folder: Path, only: dict[str, object], by: list[str] | None) -> None:
    from rnn.study.summary import SUMMARY_COLUMNS, study_summary

    found = study_summary(folder, only=only, by=by)
    if len(found.table):
        print_records(found.table.to_dict("records"), title=str(found))
        shown = [f"{name}: {words}" for name, words in SUMMARY_COLUMNS.items() if name in found.table]
        typer.echo(textwrap.fill("; ".join(shown) + ".", 108) + "\n")
    else:
        typer.echo(printable(str(found)))
    for claim in found.claims:
        typer.echo(printable(f"{claim.name} {claim.verdict}: {claim.statement}"))
        for words in claim.words:
            typer.echo(printable(textwrap.fill(words, 108, initial_indent="    ", subsequent_indent="    ")))
    if found.note:
        typer.echo(printable(found.note))
    typer.echo(
        printable(
            f"which measures go with robustness: spectra study report {shlex.quote(str(folder))} --out FOLDER"
        )
    )


def _plain(status: StudyStatus) -> dict[str, Any]:
    import dataclasses

    found = {field.name: getattr(status, field.name) for field in dataclasses.fields(status)}
    found |= {"folder": str(status.folder), "complete": status.complete, "missing": dict(status.missing)}
    found["failures"] = [{"trial": label, "error": error} for label, error in status.failures]
    names = ("task", "cell", "done", "failed", "total")
    return found | {"blocks": [dict(zip(names, block, strict=True)) for block in status.blocks]}
