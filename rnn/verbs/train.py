"""`spectra train`: one network, trained and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnn.terminal import print_table, progress_of
from rnn.verbs.needs import need_extra


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
    need_extra()

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
