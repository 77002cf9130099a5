"""What a row of a training's metrics.csv holds. Imports stay light: tables read it."""

LOSSES = ("total", "mel", "duration", "pitch", "energy")
"""Columns `train_<name>` and `validation_<name>`; `total` is the sum of the others."""
