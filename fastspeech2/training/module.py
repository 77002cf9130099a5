"""The training step of FastSpeech2 as a Lightning module."""

import math

import lightning
import torch
from omegaconf import DictConfig
from torch import Tensor

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.training.data import Batch
from fastspeech2.training.loss import Loss, fastspeech2_loss
from fastspeech2.training.nonfinite import FiniteWatch
from fastspeech2.training.optimization import OPTIMIZERS, learning_rate_factor
from pipeline.settings import chosen


class FastSpeech2Module(lightning.LightningModule):
    """FastSpeech2 with its loss and optimizer.

    Every update draws its dropout from a generator seeded by (seed, batch number), so that a
    training that was interrupted goes on bit for bit as one that was not.

    Args:
        model: to be trained.
        trainer_config: a node of conf/trainer/.
        seed: of the dropout.
        watch: what looks after losses and gradients that are not finite.

    Attributes:
        gradient_norm: of the last update, before clipping, a scalar.
    """

    def __init__(
        self, model: FastSpeech2, trainer_config: DictConfig, seed: int, watch: FiniteWatch
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
            frames=batch.mel.shape[1],
        )
        return fastspeech2_loss(
            output, batch.mel, batch.durations, batch.pitch, batch.energy, batch.phone_lengths
        )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # As the batches are numbered that all processes take turns with.
        number = batch_idx * self.trainer.world_size + self.global_rank
        # Two primes keep the streams of neighbouring seeds and updates apart.
        torch.manual_seed(self.seed * 1_000_003 + number * 7_919 + 1)
        self._batch = batch

    def on_before_backward(self, loss: Tensor) -> None:
        self.watch.add(self._batch, loss)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        losses = self.compute_loss(batch)
        parts = {name: value.detach() for name, value in losses.items()}
        return {"loss": losses.total, "parts": parts}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Teacher-forced losses, weighted by the utterances of each batch."""
        values = {f"validation_{name}": value for name, value in self.compute_loss(batch).items()}
        self.log_dict(values, batch_size=len(batch.ids), on_epoch=True, sync_dist=True)

    def configure_gradient_clipping(
        self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None
    ) -> None:
        # Lightning itself does not clip for a fused optimizer in mixed precision, lest the
        # gradients be scaled; those of bfloat16 are not.
        # By one call over all tensors, on CPUs as well, where torch by itself takes one for each.
        self.gradient_norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), gradient_clip_val or math.inf, foreach=True
        )
        if not self.watch.accepts(self.gradient_norm, self.global_step + 1):
            optimizer.zero_grad()  # without gradients no weight and no moment changes

    def configure_optimizers(self) -> dict:
        settings = self.config.optimizer
        kind = chosen("trainer.optimizer.name", settings.name, OPTIMIZERS)
        optimizer = kind(
            self.model.parameters(),
            lr=settings.lr,
            betas=tuple(settings.betas),
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda update: learning_rate_factor(self.config.schedule, self.config.updates, update),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
