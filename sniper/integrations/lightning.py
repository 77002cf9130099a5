"""SNIPER as a Lightning callback."""

import copy
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from inspect import signature
from itertools import count, islice
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from sniper.optimizers import check_rates
from sniper.prunable import prunable_parameters
from sniper.schedule import SparsitySchedule
from sniper.scores import Scores, grasp_scores, magnitude_scores, random_scores, snip_scores
from sniper.settings import SniperSettings
from sniper.sniper import Sniper
from sniper.switch import Switch

Score = str | Callable[[LightningModule, Iterable[Any]], Scores]


class SniperCallback(Callback):
    """Scores the model when training starts, then keeps it as sparse as the schedule says.

    The schedule counts optimizer updates, whatever `accumulate_grad_batches` is. The callback's
    state is part of every checkpoint, and a run that resumes from one does not score again. A
    schedule that is dense throughout costs nothing: no scoring, no hooks.

    Attributes:
        sniper: the attached `Sniper`, with its masks and record; None before training and for a
            dense schedule.
        scoring_seconds: time that scoring has taken, in seconds.
    """

    def __init__(
        self,
        schedule: SparsitySchedule | Mapping[int, float] | float,
        *,
        score: Score | Mapping[str, Score] = "snip",
        scoring_batches: int,
        loss_fn: Callable[[LightningModule, Any], Tensor] | None = None,
        dropout: bool | None = None,
        seed: int = 0,
        include: str | Sequence[str] = (),
        exclude: str | Sequence[str] = (),
        **settings: Any,
    ) -> None:
        """
        Args:
            score: `"snip"`, `"grasp"`, `"magnitude"`, `"random"`, or `score(module, batches)`; or
                {pattern: one of these}, where the first pattern that matches a parameter counts.
            scoring_batches: number of batches to score with. They come from a separate iteration
                over the training data, which changes neither the order of training nor any random
                state. Several processes take turns: batch i goes to process i modulo their number.
            loss_fn: for `"snip"` and `"grasp"`, `loss_fn(module, batch)`; by default the loss of
                `training_step`.
            dropout: for these two scores, as for `snip_scores`.
            seed: seed of random scores and of dropout. Dropout is seeded anew for each batch by its
                number, so that scores do not depend on the number of processes, provided that
                their data loaders take turns in the same way.
            include, exclude: as for `prunable_parameters`; not for a score that is a function.
            settings: keyword arguments of `Sniper`.

        Raises:
            ValueError: the score is unknown, it would ignore one of the arguments, or a setting is
                out of its range.
            TypeError: a setting is unknown.
        """
        self._methods = list(score.values()) if isinstance(score, Mapping) else [score]
        for each in self._methods:
            if isinstance(each, str) and each not in ("snip", "grasp", "magnitude", "random"):
                raise ValueError(
                    f"score is snip, grasp, magnitude, random or a function, not {each}"
                )
        ignored = {}
        if not {"snip", "grasp"} & {each for each in self._methods if isinstance(each, str)}:
            ignored |= {"loss_fn": loss_fn is not None, "dropout": dropout is not None}
        if all(callable(each) for each in self._methods):
            ignored |= {"include": bool(include), "exclude": bool(exclude)}
        if any(ignored.values()):
            given = ", ".join(name for name, is_given in ignored.items() if is_given)
            name = "a function" if callable(score) else score
            raise ValueError(f"{given} would be ignored, as the score is {name}")
        self.schedule = SparsitySchedule.of(schedule)
        SniperSettings(schedule=self.schedule, **settings)
        self.score = score
        self.scoring_batches = scoring_batches
        self.loss_fn = loss_fn
        self.dropout = dropout
        self.seed = seed
        self.selection = {"include": include, "exclude": exclude, "compat": settings.get("compat")}
        self.settings = settings
        self.sniper: Sniper | None = None
        self.scoring_seconds = 0.0
        self._state: dict[str, Any] = {}
        self._module: Callable[[], Any] | None = None  # to which _state belongs, if not loaded

    @property
    def is_dense(self) -> bool:
        """Whether the schedule and those of all groups are dense throughout."""
        settings = SniperSettings(schedule=self.schedule, **self.settings)
        return all(each.schedule.is_dense for each in (settings, *settings.of_groups().values()))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach to the model and its optimizer, which a resumed run has restored by now.

        Raises:
            ValueError: there are several optimizers; the optimization is manual, so that scoring
                needs a `loss_fn`; a sparsity cannot be reached; or the checkpoint to resume from
                was trained under another schedule or setting, or without this callback.
        """
        if self._module is not None and self._module() is not pl_module:
            self._state, self.sniper = {}, None  # of an earlier fit of another module
        if self.is_dense:
            if self._state:
                raise ValueError("the schedule is dense now, but was sparse in the checkpoint")
            return
        if trainer.global_step > 0 and not self._state:
            raise ValueError(
                f"the checkpoint of update {trainer.global_step} was trained without sparsity and "
                "has no masks, and its weights can no longer be scored untrained: start anew"
            )
        if len(trainer.optimizers) != 1:
            raise ValueError(f"SniperCallback needs one optimizer, not {len(trainer.optimizers)}")
        scores = None
        if not self._state:
            self._check_before_scoring(trainer, pl_module)
            start = time.perf_counter()
            scores = self._scores(trainer, pl_module)
            self.scoring_seconds = time.perf_counter() - start
        optimizer = trainer.optimizers[0]
        self.sniper = Sniper(pl_module, optimizer, scores, self.schedule, **self.settings)
        if self._state:
            self.sniper.load_state_dict(self._state["sniper"])

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Log nominal and achieved sparsity."""
        if self.sniper is not None:
            present = self.sniper.record[-1]
            pl_module.log("sparsity/nominal", present.nominal)
            pl_module.log("sparsity/achieved", present.achieved)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Detach from the optimizer of this fit; another fit goes on from here."""
        if self.sniper is not None:
            self._state, self._module = self.state_dict(), weakref.ref(pl_module)
            self.sniper.detach()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Do what `teardown` does, which Lightning does not call after an exception."""
        self.teardown(trainer, pl_module, "fit")

    @property
    def record(self) -> list[Switch]:
        """`Sniper.record`; before training starts, the record in the checkpoint, if any."""
        if self.sniper is not None and self.sniper.record:
            return self.sniper.record
        return [Switch(**each) for each in self._state.get("sniper", {}).get("record", [])]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the attached `Sniper`, and the time that scoring has taken."""
        if self.sniper is None or not self.sniper.record:  # no record: resuming has failed
            return self._state
        return {"sniper": self.sniper.state_dict(), "scoring_seconds": self.scoring_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until training starts."""
        self._state, self.sniper, self._module = state_dict, None, None
        self.scoring_seconds = state_dict.get("scoring_seconds", 0.0)

    def _check_before_scoring(self, trainer: Trainer, module: LightningModule) -> None:
        runs_training_step = self.loss_fn is None and any(
            each in ("snip", "grasp") for each in self._methods
        )
        if runs_training_step and not module.automatic_optimization:
            raise ValueError(
                "with manual optimization, training_step would update the model while it is scored:"
                " give SniperCallback a loss_fn"
            )
        settings = SniperSettings(schedule=self.schedule, **self.settings)
        check_rates(trainer.optimizers[0], settings.lr_scaling)
        if not any(callable(each) for each in self._methods):
            parameters = prunable_parameters(module, **self.selection)
            if not settings.groups:  # groups are checked when the Sniper is built
                settings.check_cap({name: p.numel() for name, p in parameters.items()})

    def _scores(self, trainer: Trainer, module: LightningModule) -> Scores:
        if not isinstance(self.score, Mapping):
            return self._scores_by(self.score, trainer, module)
        found = {
            each: self._scores_by(each, trainer, module) for each in dict.fromkeys(self._methods)
        }
        names = set.intersection(*(set(scores) for scores in found.values()))
        methods = {
            name: next((s for p, s in self.score.items() if fnmatchcase(name, p)), None)
            for name in next(iter(found.values()))
            if name in names
        }
        return {name: found[method][name] for name, method in methods.items() if method}

    def _scores_by(self, score: Score, trainer: Trainer, module: LightningModule) -> Scores:
        if score == "magnitude":
            return magnitude_scores(module, **self.selection)
        if score == "random":
            return random_scores(module, self.seed, **self.selection)
        with (
            isolate_rng(),
            _undisturbed(trainer, module),
            trainer.precision_plugin.train_step_context(),
        ):
            batches = self._batches(trainer)
            if callable(score):
                return score(module, batches)
            method = {"snip": snip_scores, "grasp": grasp_scores}[score]
            # The number of each batch in the sequence that the processes share.
            numbered = zip(count(trainer.global_rank, trainer.world_size), batches, strict=False)
            return method(module, self._loss, numbered, dropout=self.dropout, **self.selection)

    def _loss(self, module: LightningModule, numbered: tuple[int, Any]) -> Tensor:
        number, batch = numbered
        torch.manual_seed(self.seed * 1_000_003 + number)  # a prime, so no two seeds overlap
        return (self.loss_fn or _training_loss)(module, batch)

    def _batches(self, trainer: Trainer) -> Iterator[Any]:
        loader = trainer.train_dataloader
        if not isinstance(loader, DataLoader):
            raise TypeError(f"scoring needs a DataLoader of training data, not {type(loader)}")
        # Copy samplers and generators, since iterating changes their state, and data sets that are
        # iterated over themselves, but share data sets that are indexed.
        loader = copy.copy(loader)
        loader._iterator = None
        shared = [] if isinstance(loader.dataset, IterableDataset) else [loader.dataset]
        loader = copy.deepcopy(loader, {id(dataset): dataset for dataset in shared})
        own = range(trainer.global_rank, self.scoring_batches, trainer.world_size)
        for batch in islice(_repeated(loader), len(own)):
            yield trainer.strategy.batch_to_device(batch)


def _repeated(loader: DataLoader) -> Iterator[Any]:
    while True:
        empty = True
        for batch in loader:
            empty = False
            yield batch
        if empty:
            raise ValueError("there are no training batches to score with")


def _training_loss(module: LightningModule, batch: Any) -> Tensor:
    takes_index = len(signature(module.training_step).parameters) > 1
    output = module.training_step(batch, 0) if takes_index else module.training_step(batch)
    return output["loss"] if isinstance(output, dict) else output


@contextmanager
def _undisturbed(trainer: Trainer, module: LightningModule) -> Iterator[None]:
    """Keep scoring out of logs, metrics and counters, since it is not a part of training.

    Plain attributes of the module and its submodules get their values back, and so do the contents
    of lists, dicts, sets and tensors in them. The states of torchmetrics are such attributes.
    """
    attributes = [(each.__dict__, dict(each.__dict__)) for each in module.modules()]
    contents = [
        (value, value.clone() if torch.is_tensor(value) else copy.copy(value))
        for _, saved in attributes
        for name, value in saved.items()
        if isinstance(value, Tensor | list | set) or (type(value) is dict and name[:1] != "_")
    ]
    loggers, trainer.loggers = trainer.loggers, [DummyLogger()] if trainer.loggers else []
    module.log = module.log_dict = lambda *_, **__: None
    try:
        yield
    finally:
        trainer.loggers = loggers
        for present, saved in attributes:
            present.clear()
            present.update(saved)
        with torch.no_grad():
            for value, saved in contents:
                if torch.is_tensor(value):
                    value.copy_(saved)
                elif isinstance(value, list):
                    value[:] = saved
                else:
                    value.clear()
                    value.update(saved)
