"""FastSpeech2 as a Lightning module: loss, clipping, optimizer and learning rate schedule."""

import math
from collections.abc import Iterable

import lightning
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.settings import TrainerSettings
from fastspeech2.training.data import Batch
from fastspeech2.training.loss import Loss, fastspeech2_loss
from fastspeech2.training.nonfinite import FiniteWatch


class FastSpeech2Module(lightning.LightningModule):
    """FastSpeech2 with its loss and optimizer.

    Each batch draws its dropout from a generator seeded by (seed, batch number), so that a training
    that was interrupted goes on bit for bit like one that was not.

    Args:
        model: to be trained.
        trainer_config: a node of conf/trainer/.
        seed: of the dropout.
        watch: handles losses and gradients that are not finite.

    Attributes:
        gradient_norm: of the last update before clipping, a scalar.
    """

    def __init__(
        self, model: FastSpeech2, trainer_config: TrainerSettings, seed: int, watch: FiniteWatch
    ):
        super().__init__()
        self.watch = watch
        self.gradient_norm = torch.zeros(())
        self.model = model
        self.config = trainer_config
        self.seed = seed

    def compute_loss(self, batch: Batch) -> Loss:
        output = self.model(
            batch.phones,
            batch.phone_lengths,
            batch.durations,
            batch.pitch,
            batch.energy,
            plan=batch.plan,
        )
        return fastspeech2_loss(
            output, batch.mel, batch.durations, batch.pitch, batch.energy, batch.phone_lengths
        )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Batches are numbered over all processes, which take turns.
        number = batch_idx * self.trainer.world_size + self.global_rank
        # Two primes keep the streams of neighbouring seeds and updates apart.
        torch.manual_seed(self.seed * 1_000_003 + number * 7_919 + 1)
        self._batch = batch

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        losses = self.compute_loss(batch)
        parts = {name: value.detach() for name, value in losses.items()}
        return {"loss": losses.total, "parts": parts}

    def on_before_backward(self, loss: Tensor) -> None:
        self.watch.add(self._batch, loss)

    def configure_gradient_clipping(
        self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None
    ) -> None:
        # Lightning refuses to clip for a fused optimizer in mixed precision, because a GradScaler
        # might have scaled the gradients. bfloat16 needs no GradScaler.
        # foreach=True clips all tensors in one call; on a CPU the default is a call for each.
        self.gradient_norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), gradient_clip_val or math.inf, foreach=True
        )
        self.watch.guard(optimizer, self.gradient_norm, self.global_step + 1)

    def on_validation_start(self) -> None:
        self.watch.report()  # before metrics and a checkpoint are written

    def on_train_end(self) -> None:
        self.watch.report()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log teacher-forced losses, weighted by the number of utterances in each batch."""
        values = {f"validation_{name}": value for name, value in self.compute_loss(batch).items()}
        self.log_dict(values, batch_size=len(batch.ids), on_epoch=True, sync_dist=True)

    def configure_optimizers(self) -> dict:
        optimizer, scheduler = make_optimizer(self.config, self.model.parameters())
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def make_optimizer(
    settings: TrainerSettings, parameters: Iterable[Tensor]
) -> tuple[Optimizer, LRScheduler]:
    """Make the optimizer and the learning rate schedule of a conf/trainer/ node.

    Raises:
        RecipeError: one of them cannot be imported, or does not take its settings.
    """
    optimizer = settings.optimizer.make("trainer.optimizer", parameters)
    return optimizer, settings.schedule.make("trainer.schedule", optimizer)
