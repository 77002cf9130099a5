"""What all trainings share: how torch and Lightning are set up, and how a training resumes."""

import logging
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException

from pipeline.errors import RecipeError
from pipeline.hardware import keep_freed_memory

OURS = {
    "accumulate_grad_batches": "trainer.accumulate",
    "check_val_every_n_epoch": "trainer.val_every",
    "gradient_clip_val": "trainer.gradient_clip",
    "log_every_n_steps": "trainer.val_every",
    "logger": "logger",
    "max_epochs": "trainer.updates",
    "max_steps": "trainer.updates",
    "num_nodes": "trainer.devices",
    "num_sanity_val_steps": "trainer.val_every",
    "strategy": "trainer.devices",
    "use_distributed_sampler": "trainer.devices",
    "val_check_interval": "trainer.val_every",
}
"""Arguments of Lightning's Trainer that we choose, and the setting which each of them follows."""


def set_up_process(threads: int | None) -> None:
    """Set torch up for training in this process, and silence Lightning's advice.

    Args:
        threads: for torch's arithmetic; None leaves the number to torch.
    """
    # Messages about devices, and tips.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    # Lightning cannot know that our samplers start where the checkpoint stopped.
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    if threads:
        torch.set_num_threads(threads)
    # Moments of the optimizer that are nearly zero become denormal numbers, which make some CPUs
    # many times slower.
    torch.set_flush_denormal(True)
    keep_freed_memory()


def make_trainer(
    checkpoints: Path, callbacks: Sequence[Callback], **options: Any
) -> lightning.Trainer:
    """Create a Trainer that counts updates rather than epochs, and prints nothing by itself.

    Args:
        checkpoints: the folder of the two newest checkpoints, `<update>.ckpt`. One is written after
            each validation; the module logs its update as `step`.
        callbacks: run in this order, and before the checkpoint is written.
        options: further arguments of Lightning's Trainer.

    Raises:
        RecipeError: the Trainer refuses the options.
    """
    keep_checkpoints = ModelCheckpoint(
        checkpoints,
        filename="{step:08d}",
        auto_insert_metric_name=False,
        monitor="step",
        mode="max",
        save_top_k=2,
        # After validation: Lightning skips a validation if a checkpoint was saved just before it.
        every_n_epochs=1,
        save_on_train_epoch_end=False,
    )
    usual = {"enable_progress_bar": False, "enable_model_summary": False}
    try:
        return lightning.Trainer(
            callbacks=[*callbacks, keep_checkpoints],
            max_epochs=-1,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            **usual | options,
        )
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise RecipeError(f"Lightning's Trainer refuses its settings: {error}") from error


def fit(
    trainer: lightning.Trainer,
    module: lightning.LightningModule,
    training: Iterable,
    validation: Iterable,
    checkpoint: Path | None,
) -> None:
    """Train, from a checkpoint if there is one, which is read without executing anything.

    Raises:
        RecipeError: the process was asked to end. Lightning would end it with the exit status 0 of
            a training that is finished.
    """
    try:
        trainer.fit(module, training, validation, ckpt_path=checkpoint, weights_only=True)
    except SIGTERMException:
        raise RecipeError(
            "the training was ended by SIGTERM; the same command continues it"
        ) from None
    finally:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):  # else the next run of this process goes on with it
                logger.experiment.finish()


def latest_checkpoint(folder: Path) -> tuple[Path | None, int]:
    """Return the newest readable checkpoint and its update, or None and 0 if there is none.

    Warns about each checkpoint that is damaged, or holds more than tensors and plain values: a
    checkpoint must not execute anything. `fit` resumes from it in the same way.
    """
    named = [path for path in folder.glob("*.ckpt") if path.stem.isdecimal()]
    for path in sorted(named, reverse=True):
        try:
            torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a truncated file can raise any kind of error
            reason = str(error).partition("\n")[0]
            warnings.warn(f"{path} cannot be read ({reason}): trying the one before", stacklevel=2)
            continue
        return path, int(path.stem)
    return None, 0
