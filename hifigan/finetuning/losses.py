"""The losses of HiFi-GAN's training, section 2.4 of the paper."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from audio.mel import log_mel

FEATURES, MEL = 2.0, 45.0
"""Weights of feature matching and of the mel spectrogram beside the adversarial loss."""


def discriminator_loss(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Least squares: scores of recordings ought to be one, those of generated speech zero (eq. 1).

    Args:
        real, generated: scores of each discriminator, of any shape.
    """
    return sum(
        (1 - r).square().mean() + g.square().mean() for r, g in zip(real, generated, strict=True)
    )


def adversarial_loss(generated: Sequence[Tensor]) -> Tensor:
    """Of the generator: scores of what it generates ought to be one (eq. 2)."""
    return sum((1 - scores).square().mean() for scores in generated)


def feature_loss(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Mean distance of the discriminators' feature maps, summed over layers (eq. 4)."""
    return sum(l1_loss(g, r) for r, g in zip(real, generated, strict=True))


def mel_loss(real: Tensor, generated: Tensor) -> Tensor:
    """Mean distance of log-mel spectrograms (eq. 3) of waveforms `[batch, samples]`.

    They are this recipe's, up to 8 kHz; the published training compares up to 11 kHz.
    """
    with torch.no_grad():
        target = log_mel(real)
    return l1_loss(log_mel(generated), target)
