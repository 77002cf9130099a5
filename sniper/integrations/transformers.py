"""SNIPER as a callback of the Trainer of Hugging Face transformers."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from sniper.schedule import SparsitySchedule
from sniper.scores import Scores
from sniper.settings import SniperSettings
from sniper.sniper import Sniper


class SniperTrainerCallback(TrainerCallback, ExportableState):
    """Attaches a `Sniper` when training begins, and keeps its state in the Trainer's checkpoints.

    The state is a string in `trainer_state.json`, from which a resumed training reads it.

    Attributes:
        sniper: the attached `Sniper`; None before training.
    """

    def __init__(
        self,
        schedule: SparsitySchedule | Mapping[int, float] | float,
        scores: Scores | None = None,
        **settings: Any,
    ) -> None:
        """
        Args:
            scores: those of the untrained model, as `snip_scores` returns them. A training that
                resumes needs none.
            settings: keyword arguments of `Sniper`.

        Raises:
            ValueError: a setting is out of its range.
            TypeError: a setting is unknown.
        """
        self.schedule = SparsitySchedule.of(schedule)
        SniperSettings(schedule=self.schedule, **settings)
        self.scores, self.settings = scores, settings
        self.sniper: Sniper | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        **_: Any,
    ) -> None:
        """Attach to the model and its optimizer, which a resumed run has restored by now.

        Raises:
            ValueError: there is no checkpoint, and no scores were given; or the checkpoint was
                trained without this callback.
        """
        saved = state.stateful_callbacks.get(type(self).__name__, {}).get("attributes", {})
        resumed = state.global_step > 0
        if resumed and "saved" not in saved:
            raise ValueError(
                f"the checkpoint of update {state.global_step} was trained without "
                "SniperTrainerCallback"
            )
        if not resumed and self.scores is None:
            raise ValueError("SniperTrainerCallback needs the scores of the untrained model")
        scores = None if resumed else self.scores
        self.sniper = Sniper(model, optimizer, scores, self.schedule, **self.settings)
        if resumed:
            file = io.BytesIO(base64.b64decode(saved["saved"]))
            self.sniper.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))

    def state(self) -> dict[str, Any]:
        """Return what the Trainer writes into a checkpoint, as JSON."""
        attributes = {}
        if self.sniper is not None:
            file = io.BytesIO()
            torch.save(self.sniper.state_dict(), file)
            attributes["saved"] = base64.b64encode(file.getvalue()).decode()
        arguments = {"schedule": self.schedule.milestones} | self.settings
        return {"args": arguments, "attributes": attributes}

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Detach; weights stay as they are."""
        if self.sniper is not None:
            self.sniper.detach()
