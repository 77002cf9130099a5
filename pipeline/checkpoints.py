"""Checkpoints of an unfinished training, which are named `<update>.ckpt`, by Lightning."""

import warnings
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint


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


def keep_checkpoints(folder: Path) -> Callback:
    """Lightning's callback that keeps the two newest, one after each validation."""
    return ModelCheckpoint(
        folder,
        filename="{step:08d}",
        auto_insert_metric_name=False,
        monitor="step",
        mode="max",
        save_top_k=2,
        # After validation: Lightning skips one that a checkpoint was saved just before.
        every_n_epochs=1,
        save_on_train_epoch_end=False,
    )
