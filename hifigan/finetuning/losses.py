"""The losses of HiFi-GAN's training, section 2.4 of the paper."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from audio.mel import log_mel

FEATURE_WEIGHT, MEL_WEIGHT = 2.0, 45.0
"""Weights of the feature matching loss and of the mel loss; the adversarial loss has weight 1."""


def discriminator_loss(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Least-squares loss with targets of one for recordings and zero for generated speech (eq. 1).

    Args:
        real, generated: the scores of each discriminator, of any shape.
    """
    return sum(
        (1 - r).square().mean() + g.square().mean() for r, g in zip(real, generated, strict=True)
    )


def adversarial_loss(generated: Sequence[Tensor]) -> Tensor:
    """The generator's least-squares loss: the target of the scores is one (eq. 2)."""
    return sum((1 - scores).square().mean() for scores in generated)


def feature_loss(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Feature matching: mean absolute difference of feature maps, summed over layers (eq. 4)."""
    return sum(l1_loss(g, r) for r, g in zip(real, generated, strict=True))


def mel_loss(real: Tensor, generated: Tensor) -> Tensor:
    """Mean absolute difference of the log-mel spectrograms (eq. 3) of waveforms `[batch, samples]`.

    The mels are those of the features, up to 8 kHz; the published training compares mels up to
    11 kHz.
    """
    with torch.no_grad():
        target = log_mel(real)
    return l1_loss(log_mel(generated), target)
