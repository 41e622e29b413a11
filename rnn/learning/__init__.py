"""How a network learns a task, behind `rnn.training`: settings, losses, right answers, checkpoints."""
