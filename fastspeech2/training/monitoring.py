"""Callbacks that write down a training: metrics, masks and progress."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import lightning
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fastspeech2.training.mask_files import write_masks
from fastspeech2.training.metrics import LOSSES
from pipeline.files import write_csv, write_json
from sniper.integrations.lightning import SniperCallback

COLUMNS = [
    "update",
    "seconds",
    *(f"train_{name}" for name in LOSSES),
    *(f"validation_{name}" for name in LOSSES),
    "sparsity",
    "learning_rate",
]


class MetricsTable(lightning.Callback):
    """Writes a row of metrics.csv and logs it at each validation, and times the training.

    Checkpoints contain the rows, so the table of a resumed training has no gaps and no repeats.

    Args:
        path: of metrics.csv.
        sparsity: returns the present overall sparsity, a fraction.
        measured: returns what the validation measured besides the losses, by column.
        columns: names of the columns that `measured` may return.
        tensors: returns the present sparsity of each tensor, which is logged.
    """

    def __init__(
        self, path: Path, sparsity, measured=dict, columns: Sequence[str] = (), tensors=dict
    ):
        self.path = path
        self.sparsity, self.tensors = sparsity, tensors
        self.measured, self.columns = measured, [*COLUMNS, *columns]
        self.rows: list[dict] = []
        self.seconds = 0.0
        self._sums: dict[str, torch.Tensor] = {}
        self._batches = 0

    def state_dict(self) -> dict:
        return {
            "rows": self.rows,
            "seconds": self.seconds + self._since_start(),
            "sums": self._sums,
            "batches": self._batches,
        }

    def load_state_dict(self, state: dict) -> None:
        self.rows, self.seconds = state["rows"], state["seconds"]
        self._sums, self._batches = state["sums"], state["batches"]

    def _since_start(self) -> float:
        return time.perf_counter() - self._started

    def on_train_start(self, trainer, module) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        for name, value in outputs["parts"].items():
            # The sum stays on the device: to read a value, every update would have to wait for it.
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._batches += 1

    def on_validation_end(self, trainer, module) -> None:
        if self.rows and self.rows[-1]["update"] == trainer.global_step:
            return  # validated again after a resume
        names = sorted(self._sums)
        batches = torch.full_like(self._sums[names[0]], self._batches)
        sums = torch.stack([*(self._sums[name] for name in names), batches])
        sums = trainer.strategy.reduce(sums, reduce_op="sum").tolist()
        means = {name: value / sums[-1] for name, value in zip(names, sums, strict=False)}
        row = {
            "update": trainer.global_step,
            "seconds": round(self.seconds + self._since_start(), 3),
            "sparsity": self.sparsity(),
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
        }
        for name in LOSSES:
            row[f"train_{name}"] = means[name]
            row[f"validation_{name}"] = float(trainer.callback_metrics[f"validation_{name}"])
        row |= self.measured()
        self._sums, self._batches = {}, 0
        self.rows.append(row)
        if not trainer.is_global_zero:
            return
        write_csv(self.path, self.columns, self.rows)
        for logger in trainer.loggers:
            values = {key.replace("_", "/", 1): value for key, value in row.items()}
            # MLflow's store cannot hold both `sparsity` and the names below `sparsity/`.
            values["sparsity/overall"] = values.pop("sparsity")
            values |= {f"sparsity/{name}": value for name, value in self.tensors().items()}
            values["gradient/norm"] = float(module.gradient_norm)
            logger.log_metrics(values, step=trainer.global_step)

    def on_train_end(self, trainer, module) -> None:
        self.seconds += self._since_start()


class MaskFiles(lightning.Callback):
    """Writes the masks after each of the first switches to `<update>.npz`, for figures.

    Args:
        folder: of the files.
        sniper: comes before this callback in the trainer.
        most: number of files at most, since a schedule that changes all the time would fill the
            disk.
    """

    def __init__(self, folder: Path, sniper: SniperCallback, most: int = 8):
        self.folder, self.sniper, self.most = folder, sniper, most
        self._seen = 0

    def on_train_start(self, trainer, module) -> None:
        self._write_if_new(trainer)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        self._write_if_new(trainer)

    def _write_if_new(self, trainer) -> None:
        sniper = self.sniper.sniper
        if sniper is None or not trainer.is_global_zero:
            return
        if not self._seen < len(sniper.record) <= self.most:
            return
        self._seen = len(sniper.record)
        write_masks(self.folder / f"{sniper.record[-1].update:08d}.npz", sniper.masks)


class TrainingProgress(lightning.Callback):
    """Shows a progress bar on a terminal and lines elsewhere, and writes progress.json.

    Args:
        path: of progress.json, which `make sweep` and `make status` read.
        name: of the run.
        every: updates between two writes.
    """

    def __init__(self, path: Path, name: str, every: int):
        self.path, self.name, self.every = path, name, every
        self._bar: Progress | None = None

    def on_train_start(self, trainer, module) -> None:
        self._first, self._started = trainer.global_step, time.perf_counter()
        self._seen = self._first
        self._bar = Progress(
            TextColumn(self.name),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            disable=not sys.stdout.isatty() or not trainer.is_global_zero,
        )
        self._task = self._bar.add_task(
            "train", total=trainer.max_steps, completed=trainer.global_step, loss=""
        )
        self._bar.start()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        update = trainer.global_step
        if update == self._seen:  # this batch was accumulated, without an update
            return
        self._seen = update
        self._bar.update(self._task, completed=update)
        if update % self.every and update != trainer.max_steps or not trainer.is_global_zero:
            return
        # Lightning divides `loss` by the number of accumulated batches.
        loss = float(outputs["parts"]["total"])
        pace = (time.perf_counter() - self._started) / max(1, update - self._first)
        left = pace * (trainer.max_steps - update)
        self._bar.update(self._task, loss=f"loss {loss:.3f}")
        write_json(
            self.path,
            {
                "update": update,
                "updates": trainer.max_steps,
                "loss": loss,
                "seconds_left": round(left, 1),
            },
        )
        if self._bar.disable and (update % (10 * self.every) == 0 or update == trainer.max_steps):
            print(
                f"{self.name}: update {update}/{trainer.max_steps}, loss {loss:.3f}, "
                f"{left:.0f} s left",
                flush=True,
            )

    def on_train_end(self, trainer, module) -> None:
        self._bar.stop()

    def on_exception(self, trainer, module, exception) -> None:
        if self._bar is not None:  # it is None if another callback failed before training started
            self._bar.stop()
