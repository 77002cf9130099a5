"""Checkpoints of an unfinished training, which are named `<update>.ckpt`."""

import warnings
from pathlib import Path

import torch


def latest_checkpoint(folder: Path) -> tuple[Path | None, int]:
    """The newest checkpoint that can be read, and its update; one that cannot is warned of."""
    for path in sorted(folder.glob("*.ckpt"), reverse=True):
        try:
            torch.load(path, map_location="cpu", weights_only=False)
        except Exception as error:  # a truncated file raises one of many kinds
            warnings.warn(f"{path} cannot be read ({error}): trying the one before", stacklevel=2)
            continue
        return path, int(path.stem)
    return None, 0
