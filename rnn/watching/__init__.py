"""Spectral measures while a network trains: callbacks, their sinks and time budget."""
