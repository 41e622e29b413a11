"""Weights that are stored as several tensors."""
