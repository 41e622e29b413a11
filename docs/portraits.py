"""Draw three portraits beside each other: a classic, a trained tanh network, the forget gate of an LSTM.

Run from the root of the repository: ``python docs/portraits.py`` writes docs/portraits.png.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import rnn
import spectra


def trained(cell: str, gate: str) -> np.ndarray:
    """Give the recurrent matrix of one gate after ten passes over the digits, as precise as it is stored."""
    task = rnn.load_task("digits")
    model = rnn.build_model(rnn.ModelConfig(cell, task.features, task.steps, hidden=64))
    rnn.train(model, task, config=rnn.TrainingConfig(epochs=10))
    found = next(m for m in rnn.named_matrices(model) if m.role == "recurrent" and m.gate == gate)
    return found.matrix.astype(np.float32)


def main() -> None:
    """Compute and draw."""
    matrices = {
        "Grcar, n = 100": spectra.gallery.grcar(100),
        "tanh network, 64 units": trained("tanh", ""),
        "LSTM forget gate, 64 units": trained("lstm", "f"),
    }
    figure, axes = plt.subplots(1, 3, figsize=(15, 6), layout="constrained")
    for ax, (name, A) in zip(axes, matrices.items(), strict=True):
        result = spectra.pseudospectrum(A, shape=(300, 300))
        print(f"{name}: {result}")
        spectra.plots.plot_pseudospectrum(result, ax).set_title(name)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=100)


if __name__ == "__main__":
    main()
