"""FastSpeech2's training loss, masked over padding."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fastspeech2.model.output import FastSpeech2Output
from fastspeech2.packing import padding_mask


@dataclass
class Loss:
    """Means over everything but the padding; `total` is the sum of the others."""

    total: Tensor
    mel: Tensor
    duration: Tensor
    pitch: Tensor
    energy: Tensor

    def items(self) -> list[tuple[str, Tensor]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def fastspeech2_loss(
    output: FastSpeech2Output,
    mel: Tensor,
    durations: Tensor,
    pitch: Tensor,
    energy: Tensor,
    phone_lengths: Tensor,
) -> Loss:
    """L1 of the mel (before plus after the postnet), MSE of log-duration, pitch and energy.

    The losses are those of ming024/FastSpeech2 and of ESPnet's FastSpeech2Loss with masking. They
    are computed in float32.

    Args:
        mel: `[batch, frames, mels]`.
        durations: frames, `[batch, phones]`; each utterance's sum is its number of frames.
        pitch, energy: normalised, `[batch, phones]`.
        phone_lengths: `[batch]`.
    """
    phone_mask = padding_mask(phone_lengths, durations.shape[1])
    frame_mask = padding_mask(durations.sum(1), mel.shape[1])
    mel_loss = _masked_mean((output.mel.float() - mel).abs(), frame_mask)
    if output.mel_postnet is not output.mel:
        mel_loss = mel_loss + _masked_mean((output.mel_postnet.float() - mel).abs(), frame_mask)

    def phone_loss(predicted: Tensor, target: Tensor) -> Tensor:
        return _masked_mean((predicted.float() - target).square(), phone_mask)

    duration_loss = phone_loss(output.log_duration, torch.log1p(durations.float()))
    pitch_loss = phone_loss(output.pitch, pitch)
    energy_loss = phone_loss(output.energy, energy)
    total = mel_loss + duration_loss + pitch_loss + energy_loss
    return Loss(total, mel_loss, duration_loss, pitch_loss, energy_loss)


def _masked_mean(error: Tensor, mask: Tensor) -> Tensor:
    """Mean of `error` where `mask` is True, over all channels if it has any."""
    channels = error.shape[2] if error.dim() == 3 else 1
    mask = mask[:, :, None] if error.dim() == 3 else mask
    return (error * mask).sum() / (mask.sum() * channels)
