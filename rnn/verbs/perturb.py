"""`spectra perturb`: what perturbed, rounded and pruned weights do to the accuracy of a network."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnn import options
from rnn.terminal import print_records, printable, progress_of
from rnn.verbs.needs import need_extra
from rnn.verbs.texts import command_line, names, numbers

if TYPE_CHECKING:
    from rnn.attacking.weight_verdicts import WeightRobustness


_Kinds = Annotated[
    str,
    typer.Option(
        help="Of gaussian, gradient (worst found), pseudospectral, pruning, float16, bfloat16, "
        "float8_e4m3fn, int8_per_tensor, int8_per_row. Default: gaussian, gradient, pruning, bfloat16, "
        "int8_per_tensor.",
        metavar="KIND,..",
        show_default=False,
    ),
]


def perturb(
    checkpoint: options.Checkpoint,
    kind: _Kinds = "gaussian,gradient,pruning,bfloat16,int8_per_tensor",
    size: Annotated[
        str,
        typer.Option(help="Norms of perturbations, as a share of the norm of the matrix.", metavar="S,.."),
    ] = "0.01,0.03,0.1,0.3",
    share: Annotated[
        str, typer.Option(help="Shares of entries that pruning sets to 0.", metavar="S,..")
    ] = "0.3,0.6,0.9",
    matrix: Annotated[
        list[str] | None,
        typer.Option(help="A matrix to perturb; repeatable. Default: the recurrent ones.", metavar="NAME"),
    ] = None,
    draws: Annotated[int, typer.Option(help="How often noise is drawn.")] = 20,
    steps: Annotated[int, typer.Option(help="Gradients of kind gradient, for each loss and size.")] = 40,
    data: options.LabelledData = None,
    model: options.Model = None,
    examples: options.Examples = None,
    tolerance: options.Tolerance = None,
    wrong_share: options.WrongShare = 0.0,
    seed: options.Seed = 0,
    batch_size: options.BatchSize = None,
    threads: options.Threads1 = 1,
    json_file: options.JsonFile = None,
    out: Annotated[Path | None, typer.Option(help="Save the record.", metavar="FILE.npz")] = None,
    force: options.Force = False,
) -> None:
    """Perturb, round and prune the weights of a network: accuracy by kind and size, with intervals."""
    from rnn.files import check_spared, check_unused, write_whole

    to_stdout = json_file == Path("-")
    targets = {"--json": None if to_stdout else json_file, "--out": out}
    check_unused(targets, endings={"--out": (".npz",)}, force=force)
    check_spared(targets, (checkpoint, None if data is None else Path(data)))
    wanted: dict[str, Any] = {"kinds": names(kind, "--kind"), "sizes": numbers(size, "--size")}
    wanted |= {"shares": numbers(share, "--share"), "matrices": matrix, "draws": draws, "steps": steps}
    wanted |= {"rng": seed, "batch_size": batch_size, "wrong_share": wrong_share}
    need_extra()

    import torch

    from rnn.attacking.weight_perturbations import weight_robustness
    from rnn.reading.labelled_examples import model_and_examples

    torch.set_num_threads(threads)
    with progress_of("perturbations") as progress, contextlib.redirect_stdout(sys.stderr):
        network, judged = model_and_examples(checkpoint, factory=model, data=data, count=examples)
        progress(0, 1)
        wanted["tolerance"] = judged.tolerance if tolerance is None else tolerance
        found = weight_robustness(network, judged.x, judged.y, lengths=judged.lengths, **wanted)
    about: dict[str, Any] = {"command": command_line(), "network": checkpoint.name, "data": judged.name}
    about |= {"seed": seed, "tolerance": wanted["tolerance"], "wrong_share": wrong_share}
    text = json.dumps(about | _content(found), indent=2, allow_nan=False) + "\n"
    if json_file is not None and not to_stdout:
        write_whole(json_file, text)
    if out is not None:
        found.save(out)
    if to_stdout:
        typer.echo(text, nl=False)
        return
    _print(found, f"{checkpoint.name} on {judged.name}")
    for name, path in targets.items():
        if path is not None:
            typer.echo(printable(f"{name.removeprefix('--')}: {path}"))


def _content(found: WeightRobustness) -> dict[str, Any]:
    columns = ("kinds", "sizes", "relative_norms", "accuracy", "lower", "upper", "lowest", "highest", "loss")
    values = zip(*(getattr(found, name).tolist() for name in columns), strict=True)
    heads = ("kind", "size", *columns[2:])
    plain = ("clean_accuracy", "clean_loss", "draws", "examples", "level")
    return {name: getattr(found, name) for name in plain} | {
        "matrices": found.matrices.tolist(),
        "rows": [dict(zip(heads, row, strict=True)) for row in values],
    }


def _print(found: WeightRobustness, title: str) -> None:
    interval = f"{found.level:.0%} interval"
    rows = [
        {
            "kind": row["kind"],
            "size": row["size"],
            "accuracy": row["accuracy"],
            interval: f"{row['lower']:.3f} .. {row['upper']:.3f}",
            "of draws": f"{row['lowest']:.3f} .. {row['highest']:.3f}" if row["kind"] == "gaussian" else "",
            "loss": row["loss"],
        }
        for row in _content(found)["rows"]
    ]
    matrices = ", ".join(map(str, found.matrices))
    clean = f"clean accuracy {found.clean_accuracy:.4g} of {found.examples}"
    print_records(rows, title=f"{title}: {clean}; perturbed: {matrices}")
