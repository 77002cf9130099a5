"""The log of a fine-tuning: a table of its losses and the progress that is shown."""

import time
from collections.abc import Callable
from pathlib import Path

import lightning

from pipeline.files import write_csv

COLUMNS = ["update", "seconds", "discriminator", "adversarial", "features", "mel", "validation_mel"]


class FineTuningLog(lightning.Callback):
    """Writes a row of metrics.csv after each validation, and shows progress after each update.

    The rows are part of each checkpoint, so that the table of a resumed training has neither gaps
    nor repetitions.

    Args:
        path: of metrics.csv.
        show: called with the number of updates made so far.
    """

    def __init__(self, path: Path, show: Callable[[float], None]):
        self.path, self.show = path, show
        self.rows: list[dict] = []
        self.seconds = 0.0
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def state_dict(self) -> dict:
        return {"rows": self.rows, "seconds": self._seconds()}

    def load_state_dict(self, state: dict) -> None:
        self.rows, self.seconds = state["rows"], state["seconds"]

    def _seconds(self) -> float:
        return self.seconds + time.perf_counter() - self._started

    def on_train_start(self, trainer, module) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer, module, outputs, batch, number) -> None:
        for name, value in outputs["parts"].items():
            # Summed on the device, so that no update waits for a value to be read.
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        self.show(module.update)

    def on_validation_end(self, trainer, module) -> None:
        if self.rows and self.rows[-1]["update"] == module.update:
            return  # validated again after a resume
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        error = float(trainer.callback_metrics["validation_mel"])
        row = {
            "update": module.update,
            "seconds": round(self._seconds(), 1),
            "validation_mel": error,
        }
        self.rows.append(dict.fromkeys(COLUMNS, "") | row | means)
        write_csv(self.path, COLUMNS, self.rows)
        print(f"update {module.update}: mel L1 on validation clips {error:.4f}", flush=True)
