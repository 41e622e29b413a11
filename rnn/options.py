"""Options and arguments of `spectra diagnose` and of verbs that share some, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Checkpoint = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT",
        help="Weights: .pt .pth .ckpt .safetensors .npz .npy .onnx, or a folder.",
        exists=True,
    ),
]
After = Annotated[
    Path | None,
    typer.Argument(metavar="AFTER", help="Later weights of the same network: what changed.", exists=True),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Only the table, by direct formulas: seconds, not minutes.")
]
Epsilon = Annotated[float, typer.Option(help="Level of the pseudospectra, in the units of the weights.")]
Largest = Annotated[int, typer.Option(help="Above this order only bounds of the norm.", metavar="N")]
Data = Annotated[
    str | None,
    typer.Option(
        help="Sequences to run: a .npy file, x (and lengths) in a .npz file, or the name of a task.",
        metavar="FILE.npy",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(help="Function that builds the network for --data; its code is run.", metavar="MODULE:NAME"),
]
Recurrent = Annotated[
    list[str] | None,
    typer.Option(help="A square array that is a recurrent matrix; may be repeated.", metavar="NAME"),
]
Orientation = Annotated[
    str | None, typer.Option(help="Of arrays in .npy and .npz: out_in or in_out.", metavar="ORDER")
]
Leak = Annotated[float | None, typer.Option(help="Leaky cells: judge (1 - a) I + a W.", metavar="A")]
TimeStep = Annotated[
    float | None,
    typer.Option("--dt", help="Continuous-time cells: judge (W - I)/tau, tau = dt/leak.", metavar="DT"),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write everything here; - prints it instead.", metavar="FILE")
]
HtmlFile = Annotated[
    Path | None, typer.Option("--html", help="Write a page with pictures here.", metavar="FILE")
]
CsvFile = Annotated[Path | None, typer.Option("--csv", help="Write the table here.", metavar="FILE")]
MarkdownFile = Annotated[
    Path | None, typer.Option("--markdown", help="Write findings and table here.", metavar="FILE")
]
FailOn = Annotated[
    str | None, typer.Option(help="Exit with 1 from this level on: notice or warning.", metavar="LEVEL")
]
Threads = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Threads; all cores when left out.", show_default=False)
]

LabelledData = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Arrays x, y, and lengths if they differ; or a task. Default: the checkpoint's test set.",
        metavar="FILE.npz",
    ),
]
Examples = Annotated[int | None, typer.Option(help="Only the first N examples.", metavar="N")]
Seed = Annotated[int, typer.Option(help="Same seed, same numbers.")]
BatchSize = Annotated[int | None, typer.Option(help="Examples at a time, to bound memory.", metavar="N")]
Threads1 = Annotated[
    int, typer.Option("--threads", min=1, max=1024, help="Threads; more pay for wide networks.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]

Methods = Annotated[
    str,
    typer.Option(
        "--method",
        help="fgsm, pgd, apgd-ce, apgd-dlr, apgd-t, fab, fab-t, deepfool, square, noise-gaussian, "
        "noise-uniform, noise-salt, frames-dropped, frames-repeated, frames-shifted, or worst: an ensemble.",
        metavar="NAME,..",
    ),
]
Norm = Annotated[str, typer.Option(help="linf, l2 or l1.")]
Budgets = Annotated[str, typer.Option("--budget", help="Largest norms of the perturbation.", metavar="B,..")]
Frames = Annotated[
    str, typer.Option(help="What a budget is for: all frames together, each, or the worst one.")
]
Bounds = Annotated[
    str | None,
    typer.Option(help="Range of valid inputs, or none. Default: that of the task.", metavar="LO,HI"),
]
MethodOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option", help="Such as steps=20, or pgd.steps=20 for one method; repeatable.", metavar="NAME=VALUE"
    ),
]
Tolerance = Annotated[
    float | None, typer.Option(help="Regression: a larger error is wrong.", metavar="ERROR")
]
WrongShare = Annotated[
    float, typer.Option(help="Labels of frames: wrong when more than this share of the frames is.")
]
Repeats = Annotated[int, typer.Option(help="Attack so often, each time with other random numbers.")]
Certify = Annotated[
    bool, typer.Option("--certify", help="Prove a lower bound too: certified <= true <= attacked.")
]
Record = Annotated[
    Path | None, typer.Option("--out", help="Save the record, with the inputs found.", metavar="FILE.npz")
]
Plot = Annotated[Path | None, typer.Option(help="Draw accuracy over budgets here.", metavar="FILE.png")]
