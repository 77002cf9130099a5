"""Which weights of a training become its model: the last, the best, or the mean of the n best."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import lightning
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from pipeline.errors import RecipeError
from pipeline.files import atomic_path
from pipeline.settings import check_choice
from sniper import SparsitySchedule

CRITERIA = ("last", "loss", "mcd")
COMPONENTS = ("total", "mel")
RECOVERABLE = 2
"""Newest checkpoints that a training may have to go on from."""


def candidates(
    selection: DictConfig, val_every: int, updates: int, schedule: SparsitySchedule
) -> list[int]:
    """The updates whose weights may be chosen: those validated after the last switch.

    Weights of before it are of another sparsity, and those that come back at it are untrained;
    after it masks stay, so that the mean of several is exactly zero wherever they are.

    Args:
        selection: a node of conf/selection/.
        val_every: updates between two validations.
        updates: of the whole training.
        schedule: of the sparsity.

    Raises:
        RecipeError: an unknown setting, or fewer candidates than are to be averaged.
    """
    check_choice("selection.criterion", selection.criterion, CRITERIA)
    if selection.criterion == "loss":
        check_choice("selection.component", selection.component, COMPONENTS)
    last_switch = schedule.milestones[-1][0]
    found = [update for update in range(val_every, updates + 1, val_every) if update > last_switch]
    if selection.criterion == "mcd":
        found = found[::-1][:: max(1, math.ceil(len(found) / selection.times))][::-1]
    if not 1 <= selection.average <= max(1, len(found)):
        raise RecipeError(
            f"selection.average is {selection.average}, but {len(found)} validations after the "
            f"last switch (update {last_switch}) can be chosen from: change it or trainer.val_every"
        )
    if not found and selection.criterion != "last":
        raise RecipeError(
            f"no validation comes after the last switch of sparsity (update {last_switch}): lower "
            "trainer.val_every"
        )
    return found


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts, oldest first, reduced in float64 and given in their own types.

    Running statistics of BatchNorm are averaged like weights, as ESPnet does: recomputing them
    would take a pass over the training data, and the n best of a late training differ little.
    Integers are the newest's.
    """

    def mean(name: str) -> Tensor:
        tensors = [state[name] for state in states]
        if not tensors[-1].is_floating_point():
            return tensors[-1]
        return (sum(tensor.double() for tensor in tensors) / len(tensors)).to(tensors[-1].dtype)

    return {name: mean(name) for name in states[-1]}


class Selection(lightning.Callback):
    """Keeps the weights of the n best candidates, one file each, until a model is made of them.

    What is kept is part of each checkpoint. A file goes once no checkpoint that training may have
    to go on from asks for it, so that a kill at any moment changes nothing.

    Args:
        folder: of the files.
        settings: a node of conf/selection/.
        candidates: the updates that may be chosen, as from `candidates`.
        mcd: of a model's speech in dB, lower is better; needed by the criterion "mcd" alone.

    Attributes:
        kept: the chosen so far, best first: `update`, and the `value` of the criterion.
        measured: what this validation measured beside the losses, for a row of metrics.csv.
    """

    def __init__(
        self,
        folder: Path,
        settings: DictConfig,
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
        """Of the criterion, as a column of metrics.csv is called."""
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
        # The process that writes checkpoints keeps account; the others are told on a resume.
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
        value = self.mcd(module.model)
        module.model.train(training)
        self.measured = {self.name: value}
        return value

    def _consider(self, update: int, value: float, model: nn.Module) -> None:
        def rank(entry: dict) -> tuple[float, int]:
            """Of equals the newer; one that is not a number comes last."""
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
        """The mean of the weights kept, a state dict on the CPU."""
        return mean_state(
            [torch.load(self._path(u), map_location="cpu") for u in sorted(self._updates())]
        )
