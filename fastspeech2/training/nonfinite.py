"""What happens when a loss or a gradient is not finite."""

import warnings
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from fastspeech2.training.data import Batch
from pipeline.errors import RecipeError
from pipeline.files import atomic_path

NAMED = 20
"""Utterances that a message names; the saved batch has them all."""


def skipped_updates(folder: Path) -> int:
    """Count the updates that a finished training skipped, by the batches saved in its folder."""
    return len({path.stem.split("_")[1] for path in folder.glob("nonfinite_*.pt")})


@dataclass
class Pending:
    """An update whose flag may still be on its way from the device."""

    update: int
    batches: list[tuple[Batch, Tensor]]
    """batches of the update and their losses"""
    is_bad: Tensor
    """1 if the update was not finite, a scalar on the CPU once `copied` has happened"""
    copied: torch.cuda.Event | None


class FiniteWatch:
    """Skips updates that are not finite, and reports each of them one update later.

    The optimizer itself skips such an update on the device, so that neither weights nor moments
    change. The report waits until the flag has been copied, while the device is busy with the next
    update: no step waits for the device.

    Args:
        folder: where the batches of an update that is not finite are saved.
        action: "stop" raises an error, "skip" warns and goes on.
    """

    def __init__(self, folder: Path, action: str):
        self.folder, self.action = folder, action
        self._batches: list[tuple[Batch, Tensor]] = []
        self._pending: Pending | None = None

    def add(self, batch: Batch, loss: Tensor) -> None:
        """Remember a batch of the coming update and its total loss, a scalar."""
        self._batches.append((batch, loss.detach()))

    def guard(self, optimizer: Optimizer, gradient_norm: Tensor, update: int) -> None:
        """Have the optimizer skip this update if it is not finite, and report the one before.

        Args:
            optimizer: which is about to make the update.
            gradient_norm: of all parameters, a scalar.
            update: number of the update.

        Raises:
            RecipeError: the update before was not finite, and the action is "stop".
        """
        self.report()
        batches, self._batches = self._batches, []
        total = torch.stack([loss for _, loss in batches]).sum() + gradient_norm
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(total)  # all processes make the same decision
        # What a GradScaler would set: fused optimizers leave everything as it is where it is 1.
        optimizer.found_inf = 1.0 - total.isfinite().float()
        if not all(group.get("fused") for group in optimizer.param_groups):
            if bool(optimizer.found_inf):  # waits for the device
                optimizer.zero_grad()  # parameters without a gradient stay as they are
        self._pending = Pending(update, batches, *_copied(optimizer.found_inf))

    def report(self) -> None:
        """Report the last update if it was not finite.

        Raises:
            RecipeError: it was not, and the action is "stop".
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return
        if pending.copied is not None:
            pending.copied.synchronize()
        if not bool(pending.is_bad):
            return
        bad = [batch for batch, loss in pending.batches if not loss.isfinite()]
        what = "loss" if bad else "gradient"
        bad = bad or [batch for batch, _ in pending.batches]
        path = self._save(bad, pending.update)
        ids = [id for batch in bad for id in batch.ids]
        names = ", ".join(ids[:NAMED]) + f" and {len(ids) - NAMED} more" * (len(ids) > NAMED)
        message = (
            f"the {what} of update {pending.update} is not finite; its utterances ({path}): {names}"
        )
        if self.action == "stop":
            raise RecipeError(
                f"{message}. Look at their features, lower trainer.optimizer.lr, or skip such "
                "updates with nonfinite=skip"
            )
        warnings.warn(f"{message}. The update is skipped", stacklevel=2)

    def _save(self, batches: list[Batch], update: int) -> Path:
        is_parallel = torch.distributed.is_initialized()
        process = f"_process{torch.distributed.get_rank()}" if is_parallel else ""
        path = self.folder / f"nonfinite_{update:08d}{process}.pt"
        names = [field.name for field in fields(Batch) if field.name != "plan"]
        with atomic_path(path) as temporary:
            torch.save([{n: getattr(batch, n) for n in names} for batch in batches], temporary)
        return path


def _copied(flag: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Copy a flag to the CPU without waiting for the device; the event tells when it is there."""
    if flag.device.type != "cuda":
        return flag, None
    copied = torch.cuda.Event()
    copy = torch.empty_like(flag, device="cpu", pin_memory=True).copy_(flag, non_blocking=True)
    copied.record()
    return copy, copied
