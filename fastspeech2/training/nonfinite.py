"""What happens when a loss or a gradient is no longer a number."""

import warnings
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from fastspeech2.training.data import Batch
from pipeline.errors import RecipeError
from pipeline.files import atomic_path
from pipeline.settings import check_choice

NAMED = 20
"""Utterances that a message names; the saved batch has them all."""


def skipped_updates(folder: Path) -> int:
    """How many updates a finished training left out, by the batches of them in its folder."""
    return len({path.stem.split("_")[1] for path in folder.glob("nonfinite_*.pt")})


class FiniteWatch:
    """Keeps the batches of an update until its loss and gradient are known to be finite.

    Args:
        folder: where the batches are saved if they are not.
        action: "stop" raises an error, "skip" warns and leaves the weights as they are.
    """

    def __init__(self, folder: Path, action: str):
        check_choice("nonfinite", action, ("stop", "skip"))
        self.folder, self.action = folder, action
        self._batches: list[tuple[Batch, Tensor]] = []

    def add(self, batch: Batch, loss: Tensor) -> None:
        """Remember a batch of the update to come and its total loss, a scalar."""
        self._batches.append((batch, loss.detach()))

    def accepts(self, gradient_norm: Tensor, update: int) -> bool:
        """Whether the update may be made; the device is asked once, whatever was accumulated.

        Args:
            gradient_norm: of all parameters, a scalar.
            update: its number, for the message.

        Raises:
            RecipeError: something is not finite, and the action is "stop".
        """
        batches, self._batches = self._batches, []
        losses = torch.stack([loss for _, loss in batches])
        # Summed over processes, so that all of them make the same decision.
        total = losses.sum() + gradient_norm
        process = ""
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(total)
            process = f"_process{torch.distributed.get_rank()}"
        if bool(total.isfinite()):
            return True
        bad = [batch for batch, loss in batches if not loss.isfinite()]
        what = "gradient" if not bad else "loss"
        bad = bad or [batch for batch, _ in batches]
        path = self.folder / f"nonfinite_{update:08d}{process}.pt"
        with atomic_path(path) as temporary:
            torch.save([asdict(batch) for batch in bad], temporary)
        ids = [name for batch in bad for name in batch.ids]
        names = ", ".join(ids[:NAMED]) + f" and {len(ids) - NAMED} more" * (len(ids) > NAMED)
        message = f"the {what} of update {update} is not finite; its utterances ({path}): {names}"
        if self.action == "skip":
            warnings.warn(f"{message}. It is skipped", stacklevel=2)
            return False
        raise RecipeError(
            f"{message}. Look at their features, lower trainer.optimizer.lr, or leave such batches "
            "out by nonfinite=skip"
        )
