"""The training steps of HiFi-GAN's generator and discriminators as a Lightning module.

Losses and optimizers are the published ones (sections 2.4 and 3 of the paper).
"""

import statistics
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor

from hifigan.finetuning import losses
from hifigan.finetuning.discriminators import Discriminators
from hifigan.finetuning.mel_error import mel_errors
from hifigan.finetuning.segments import VocoderClip
from hifigan.generator import Generator
from hifigan.settings import FineTuningSettings
from pipeline.errors import RecipeError


class FineTuningModule(lightning.LightningModule):
    """A generator and its discriminators, which take turns in each update.

    Args:
        generator: with weight norm.
        discriminators: the discriminators that judge its waveforms.
        settings: conf/finetuning.yaml.
        batches_per_pass: both learning rates decay after this many updates.
        validation: the clips on which the mel error is measured.

    Attributes:
        update: the number of updates made so far.
    """

    def __init__(
        self,
        generator: Generator,
        discriminators: Discriminators,
        settings: FineTuningSettings,
        batches_per_pass: int,
        validation: Sequence[VocoderClip],
    ):
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminators = generator, discriminators
        self.settings, self.batches_per_pass = settings, batches_per_pass
        self.validation = validation
        self.update = 0

    def configure_optimizers(self) -> tuple[list, list]:
        betas, decay = tuple(self.settings.betas), self.settings.decay
        optimizers = [
            torch.optim.AdamW(module.parameters(), learning_rate, betas)
            for module, learning_rate in (
                (self.generator, self.settings.learning_rate),
                (self.discriminators, self.settings.discriminator_learning_rate),
            )
        ]
        return optimizers, [torch.optim.lr_scheduler.ExponentialLR(o, decay) for o in optimizers]

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> dict[str, Any]:
        mels, real = batch
        generated = self.generator(mels)
        parts = {"discriminator": self._discriminator_step(real, generated.detach())}
        if number >= self.settings.warmup:
            parts |= self._generator_step(real, generated)
        if (number + 1) % self.batches_per_pass == 0:
            for scheduler in self.lr_schedulers():
                scheduler.step()
        self.update = number + 1
        return {"parts": parts}

    def _discriminator_step(self, real: Tensor, generated: Tensor) -> Tensor:
        """Update the discriminators on waveforms `[batch, 1, samples]`; return their loss."""
        loss = losses.discriminator_loss(*self.discriminators.score_pair(real, generated))
        self._step(self.optimizers()[1], loss)
        return loss.detach()

    def _generator_step(self, real: Tensor, generated: Tensor) -> dict[str, Tensor]:
        """Update the generator on waveforms `[batch, 1, samples]`; return its unweighted losses."""
        # Gradients flow through the discriminators, but they need none of their own.
        self.discriminators.requires_grad_(False)
        with torch.no_grad():
            _, real_maps = self.discriminators(real)
        scores, maps = self.discriminators(generated)
        adversarial = losses.adversarial_loss(scores)
        features = losses.feature_loss(real_maps, maps)
        mel = losses.mel_loss(real[:, 0], generated[:, 0])
        total = adversarial + losses.FEATURE_WEIGHT * features + losses.MEL_WEIGHT * mel
        parts = {"adversarial": adversarial, "features": features, "mel": mel}
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {float(value.detach()):g}" for name, value in parts.items())
            raise RecipeError(
                f"the generator's loss is not finite ({values}): lower finetuning.learning_rate"
            )
        self._step(self.optimizers()[0], total)
        self.discriminators.requires_grad_(True)
        return {name: value.detach() for name, value in parts.items()}

    def _step(self, optimizer: lightning.pytorch.core.optimizer.LightningOptimizer, loss: Tensor):
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        error = statistics.fmean(mel_errors(self.generator, self.validation))
        self.log("validation_mel", error, batch_size=1)
        self.log("step", float(self.update), batch_size=1)  # names the checkpoint
