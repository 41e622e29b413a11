"""The command `spectra`: a verb reads its options, calls into the package, and prints what came back."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnn import options
from rnn.extra import advice, missing_packages
from rnn.supervision import supervised
from rnn.terminal import print_records, print_table, printable, progress_of

if TYPE_CHECKING:
    from rnn.comparison import Comparison
    from rnn.diagnosis import Diagnosis
    from spectra.results import Pseudospectrum
    from spectra.schur import SchurForm

_FINDINGS, _BAD_INPUT, _FAULT, _INTERRUPTED, _BROKEN_PIPE = 1, 2, 70, 130, 141
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

app = typer.Typer(
    name="spectra",
    help="Spectra, pseudospectra and robustness of trained networks.",
    epilog="Exit codes: 0 fine, 1 findings (--fail-on), 2 bad input, 130 interrupted.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; the entry point of `spectra`."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
    sys.exit(supervised(_run))


def _run() -> int:
    """Run the app and turn every foreseen failure into one line and an exit code."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    try:
        code = app(prog_name="spectra", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (BrokenPipeError, SystemExit) as error:  # the reader has seen enough; typer exits by itself
        if isinstance(error, SystemExit) and not isinstance(error.__context__, OSError):
            what = f"SystemExit: {error.code}"
            return _refused(error, f"the network's own code ends the program ({what}); take that out")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:
        if error.filename:
            return _refused(error, f"{error.filename}: {error.strerror}; check the path")
        lost = f"the output cannot be written ({error.strerror}); check where it goes"
        return _refused(error, lost if error.strerror else str(error))
    except (ValueError, TypeError, MemoryError, ModuleNotFoundError) as error:
        return _refused(error, str(error))
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of the command line
            where = getattr(getattr(error, "ctx", None), "command_path", "spectra")
            return _refused(error, f"{error.format_message().rstrip('.')}; see {where} --help")
        traceback.print_exc()
        print("error: this is a fault of spectra-rnn, not of the input; please report it", file=sys.stderr)
        return _FAULT


def _refused(error: BaseException, message: str) -> int:
    if "SPECTRA_TRACEBACK" in os.environ:
        traceback.print_exception(error)
    line = printable(" ".join((message or type(error).__name__).split()))
    print(f"error: {line}", file=sys.stderr)
    return _BAD_INPUT


@app.callback(invoke_without_command=True)
def _common(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        from spectra import __version__

        typer.echo(f"spectra-rnn {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
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
    _need_extra()

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
        print(f"warning: {failure.config} failed: {failure.error}", file=sys.stderr)
    for path in result.paths:
        typer.echo(str(path))


@app.command()
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
    wanted = _numbers(epsilons, "--epsilons")
    window = None if region is None else _numbers(region, "--region")
    size = _whole_numbers(shape, "--shape")

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


@app.command()
def train(
    out: Annotated[
        Path, typer.Option(help="Where the checkpoint goes.", metavar="MODEL.pt", show_default=False)
    ],
    cell: Annotated[str, typer.Option(help="tanh, gru, lstm or feedforward.")] = "tanh",
    task: Annotated[str, typer.Option(help="What to train on: digits.")] = "digits",
    hidden: Annotated[int, typer.Option(help="Width of the recurrent or hidden layer.")] = 32,
    gain: Annotated[float, typer.Option(help="Spectral scale of the initial square matrix.")] = 1.0,
    epochs: Annotated[int, typer.Option(help="Passes over the training data.")] = 30,
    seed: Annotated[int, typer.Option(help="Initial weights and order of the examples.")] = 0,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads; more pay for wide networks.")] = 1,
) -> None:
    """Train one model and save it with its configuration."""
    from rnn.files import check_target

    check_target(out, "--out")
    _need_extra()

    import torch

    from rnn.models import ModelConfig, build_model
    from rnn.tasks import load_task
    from rnn.training import TrainingConfig, save_checkpoint
    from rnn.training import train as train_model

    torch.set_num_threads(threads)
    data = load_task(task)
    model = build_model(
        ModelConfig(
            cell, data.features, data.steps, hidden=hidden, classes=data.classes, gain=gain, seed=seed
        )
    )
    with progress_of("epochs") as progress:
        record = train_model(model, data, config=TrainingConfig(epochs=epochs, seed=seed), progress=progress)
    save_checkpoint(out, model, task=data, record=record)
    print_table(
        ("quantity", "value"),
        [
            ("loss, last epoch", f"{record.losses[-1]:.4g}" if record.losses else "untrained"),
            ("training accuracy", f"{record.train_accuracy:.4f}"),
            ("test accuracy", f"{record.test_accuracy:.4f}"),
            ("seconds", f"{record.seconds:.1f}"),
        ],
        title=f"{cell} on {task}",
    )
    typer.echo(f"checkpoint: {out}")


@app.command()
def attack(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="MODEL.pt", help="From `spectra train`.", exists=True, dir_okay=False)
    ],
    method: Annotated[str, typer.Option(help="fgsm or pgd.")] = "pgd",
    norm: Annotated[str, typer.Option(help="linf or l2.")] = "linf",
    budget: Annotated[
        str, typer.Option(help="Largest norms of the perturbation.", metavar="B,B,..")
    ] = "0.05,0.1",
    seed: Annotated[int, typer.Option(help="Random starting points.")] = 0,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads; more pay for wide networks.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Attack a trained model on the test set of its task."""
    budgets = _numbers(budget, "--budget")
    _need_extra()

    import torch

    from rnn.harness import attack as attack_model
    from rnn.tasks import load_task
    from rnn.training import load_checkpoint

    torch.set_num_threads(threads)
    trained = load_checkpoint(checkpoint)
    task = load_task(trained.task, rng=trained.task_seed)
    rows = []
    with progress_of("budgets") as progress:
        for done, size in enumerate(budgets, start=1):
            result = attack_model(
                trained.model,
                task.x_test,
                task.y_test,
                method=method,
                norm=norm,
                budget=size,
                bounds=task.bounds,
                rng=seed,
            )
            rows.append(
                {
                    "method": result.method,
                    "norm": result.norm,
                    "budget": result.budget,
                    "examples": len(result.success),
                    "clean_correct": int(result.clean_correct.sum()),
                    "fooled": int(result.fooled.sum()),
                    "robust_accuracy": 1 - result.success_rate,
                    "fooling_rate": result.fooling_rate,
                }
            )
            progress(done, len(budgets))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_records(rows, title=f"{checkpoint.name} on the test set of {task.name}")


@app.command()
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
    _need_extra()

    import torch

    from rnn.findings import LEVELS

    torch.set_num_threads(threads or 1)
    wanted: dict[str, Any] = {"recurrent": recurrent, "orientation": orientation, "leak": leak, "dt": dt}
    wanted |= {"epsilon": epsilon, "quick": quick, "largest": largest, "threads": threads}
    result = _examined(checkpoint, after, data, model, wanted)
    if html_file is not None:
        with progress_of("pictured matrices") as progress:
            write_whole(html_file, result.to_html(command=_command_line(), progress=progress))
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

            wanted = wanted | {"data": read_data(data), "model": rebuilt_model(checkpoint, model)}
        return diagnose(checkpoint, progress=progress, **wanted)


def _command_line() -> str:
    return shlex.join(["spectra", *sys.argv[1:]])


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


def _need_extra() -> None:
    missing = missing_packages()
    if missing:
        raise ModuleNotFoundError(advice("this verb", missing))


def _numbers(text: str, name: str) -> tuple[Any, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"{name} is {text!r}; expected numbers with commas between them, such as 0.01,0.1"
        ) from None


def _whole_numbers(text: str, name: str) -> tuple[Any, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"{name} is {text!r}; expected whole numbers with commas between them, such as 100,100"
        ) from None
