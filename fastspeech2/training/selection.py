"""Chooses the weights that become the model: the last, the best, or the mean of the n best."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import lightning
import torch
from torch import Tensor, nn

from fastspeech2.settings import Selection as SelectionConfig
from pipeline.errors import RecipeError
from pipeline.files import atomic_path
from sniper import SparsitySchedule

RECOVERABLE = 2
"""Number of newest checkpoints from which a training may be resumed."""


def candidates(
    selection: SelectionConfig, val_every: int, updates: int, schedule: SparsitySchedule
) -> list[int]:
    """The updates whose weights may be chosen: the validations after the last switch of sparsity.

    Before it the model has another sparsity, and right at it the weights that return are untrained.
    After it the masks stay the same, so that a mean of weights is zero wherever they are masked.

    Args:
        selection: a node of conf/selection/.
        val_every: updates between two validations.
        updates: of the whole training.
        schedule: of the sparsity.

    Raises:
        RecipeError: there are fewer candidates than weights to average.
    """
    last_switch = schedule.milestones[-1][0]
    found = [update for update in range(val_every, updates + 1, val_every) if update > last_switch]
    if selection.criterion == "mcd":
        found = found[::-1][:: max(1, math.ceil(len(found) / selection.times))][::-1]
    if not 1 <= selection.average <= max(1, len(found)):
        raise RecipeError(
            f"selection.average is {selection.average}, but there are {len(found)} validations "
            f"after the last switch of sparsity (update {last_switch}): change it or "
            "trainer.val_every"
        )
    if not found and selection.criterion != "last":
        raise RecipeError(
            f"no validation comes after the last switch of sparsity (update {last_switch}): lower "
            "trainer.val_every"
        )
    return found


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts, oldest first, computed in float64 and returned in their own types.

    Running statistics of BatchNorm are averaged like weights, as in ESPnet: to recompute them takes
    a pass over the training data, and the n best weights late in training differ little. Integers
    are taken from the newest state dict.
    """

    def mean(name: str) -> Tensor:
        tensors = [state[name] for state in states]
        if not tensors[-1].is_floating_point():
            return tensors[-1]
        return (sum(tensor.double() for tensor in tensors) / len(tensors)).to(tensors[-1].dtype)

    return {name: mean(name) for name in states[-1]}


class Selection(lightning.Callback):
    """Keeps the weights of the n best candidates in files until the model is made of them.

    Each checkpoint lists the files that it needs, and a file is deleted once no checkpoint from
    which training may be resumed needs it. A kill at any moment therefore changes nothing.

    Args:
        folder: of the files.
        settings: a node of conf/selection/.
        candidates: the updates that may be chosen, from the function `candidates`.
        mcd: measures the mel-cepstral distortion of a model's speech in dB; only the criterion
            "mcd" needs it.

    Attributes:
        kept: the best so far, best first, as `update` and the `value` of the criterion.
        measured: what the last validation measured besides the losses, by column of metrics.csv.
    """

    def __init__(
        self,
        folder: Path,
        settings: SelectionConfig,
        candidates: Sequence[int],
        mcd: Callable[[nn.Module], float] | None = None,
    ):
        if settings.criterion == "mcd" and mcd is None:
            raise ValueError("the criterion mcd needs a function that measures it")
        self.folder, self.settings, self.mcd = folder, settings, mcd
        self.candidates = set(candidates)
        self.kept: list[dict] = []
        self.measured: dict[str, float] = {}
        self._earlier: list[list[int]] = []
        self._seen = 0

    @property
    def name(self) -> str:
        """Name of the criterion, which is a column of metrics.csv."""
        if self.settings.criterion == "loss":
            return f"validation_{self.settings.component}"
        return {"last": "update", "mcd": "validation_mcd"}[self.settings.criterion]

    def state_dict(self) -> dict:
        return {"kept": self.kept, "earlier": self._earlier, "seen": self._seen}

    def load_state_dict(self, state: dict) -> None:
        self.kept, self._earlier, self._seen = state["kept"], state["earlier"], state["seen"]

    def on_validation_end(self, trainer, module) -> None:
        update = trainer.global_step
        if update == self._seen:
            return  # validated again after a resume
        self._seen, self.measured = update, {}
        # The process that writes checkpoints keeps the list; the others load it when they resume.
        if not trainer.is_global_zero:
            return
        self._earlier = [*self._earlier, self._updates()][-RECOVERABLE:]
        if update in self.candidates:
            self._consider(update, self._value(trainer, module), module.model)
        needed = {*self._updates(), *(each for some in self._earlier for each in some)}
        for path in self.folder.glob("[0-9]*.pt"):
            if int(path.stem) not in needed:
                path.unlink()

    def _updates(self) -> list[int]:
        return [each["update"] for each in self.kept]

    def _value(self, trainer, module) -> float:
        if self.settings.criterion == "last":
            return float(trainer.global_step)
        if self.settings.criterion == "loss":
            return float(trainer.callback_metrics[self.name])
        training = module.model.training
        value = float(self.mcd(module.model))  # checkpoints hold plain values only
        module.model.train(training)
        self.measured = {self.name: value}
        return value

    def _consider(self, update: int, value: float, model: nn.Module) -> None:
        def rank(entry: dict) -> tuple[float, int]:
            """Sort by value, then the newer first; a value that is not a number comes last."""
            known = entry["value"] if math.isfinite(entry["value"]) else math.inf
            return (0.0 if self.settings.criterion == "last" else known, -entry["update"])

        ranked = sorted([*self.kept, {"update": update, "value": value}], key=rank)
        self.kept = ranked[: self.settings.average]
        if update in self._updates():
            with atomic_path(self._path(update)) as temporary:
                torch.save(model.state_dict(), temporary)

    def _path(self, update: int) -> Path:
        return self.folder / f"{update:08d}.pt"

    def chosen(self) -> dict[str, Tensor]:
        """The mean of the weights that are kept, a state dict on the CPU."""
        return mean_state(
            [torch.load(self._path(u), map_location="cpu") for u in sorted(self._updates())]
        )
