"""Draw how far kicks of the state carry a trained GRU and a tanh network, beside what theory predicts.

Run from the root of the repository: ``python docs/kicks.py`` writes docs/kicks.png.
"""

from pathlib import Path

import rnn

SIZES = (0.01, 1.0, 4.0)  # of a state of 64 units between -1 and 1


def main() -> None:
    """Train, kick and draw."""
    task = rnn.load_task("digits")
    kicks = {}
    for cell, name in (("gru", "GRU"), ("tanh", "tanh")):
        model = rnn.build_model(rnn.ModelConfig(cell, task.features, task.steps, hidden=64))
        rnn.train(model, task, config=rnn.TrainingConfig(epochs=15, learning_rate=5e-3))
        kicks[name] = [rnn.state_kicks(model, task.x_test, size=size) for size in SIZES]
        for found in kicks[name]:
            print(f"{name}: {found}")
    rnn.draw_kicks(kicks).savefig(Path(__file__).with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
