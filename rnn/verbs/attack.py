"""`spectra attack`: what attacks do to the accuracy of a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rnn.terminal import print_records, progress_of
from rnn.verbs.needs import need_extra
from rnn.verbs.texts import numbers


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
    budgets = numbers(budget, "--budget")
    need_extra()

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
