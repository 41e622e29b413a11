"""Experiments over many models: the engine that runs trials, the statistics, and the demo."""
