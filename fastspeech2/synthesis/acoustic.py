"""The acoustic model for synthesis: from phone indices and control factors to mels."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.packing import padding_mask
from fastspeech2.synthesis.compensation import compensate
from pipeline.errors import RecipeError


class Spoken(NamedTuple):
    """A padded batch of synthesised utterances."""

    mel: Tensor
    """log-mel, `[batch, frames, mels]`"""
    frames: Tensor
    """frames of each utterance, `[batch]`"""
    durations: Tensor
    """frames of each phone, `[batch, phones]`"""
    pitch: Tensor
    """natural log of F0 in Hz, `[batch, phones]`"""
    energy: Tensor
    """in the units of the feature store, `[batch, phones]`"""


class AcousticModel(nn.Module):
    """A trained FastSpeech2 with the statistics that normalise its pitch and energy.

    The result for one utterance does not depend on the other utterances of its batch.

    Args:
        model: a model with its trained weights. It is put into evaluation mode.
        statistics: mean and std of `pitch` and `energy`, as in the feature store.
        mel_ratio: factors for variance compensation, `[mels]`; None for no compensation.

    Raises:
        RecipeError: the model predicts pitch or energy per frame, not per phone.
    """

    def __init__(
        self, model: FastSpeech2, statistics: dict, mel_ratio: Sequence[float] | None = None
    ):
        super().__init__()
        if model.frame_level:
            raise RecipeError(
                f"this model predicts {' and '.join(model.frame_level)} per frame, so factors per "
                "phone cannot control it: call the model itself"
            )
        self.model = model.eval()
        self.statistics = statistics
        device = next(model.parameters()).device
        ratio = None if mel_ratio is None else torch.tensor(mel_ratio, device=device)
        self.register_buffer("mel_ratio", ratio)

    def forward(
        self, phones: Tensor, phone_lengths: Tensor, speed: Tensor, pitch: Tensor, energy: Tensor
    ) -> Spoken:
        """Synthesise with control factors for each phone, on the model's device.

        Args:
            phones: indices, `[batch, phones]`, 0 in the padding.
            phone_lengths: phones of each utterance, `[batch]`.
            speed: divides durations, `[batch, phones]`, 1 in the padding.
            pitch: multiplies F0 in Hz, likewise.
            energy: multiplies energy, likewise.
        """
        inputs = (phones, phone_lengths, speed, pitch, energy)
        device = next(self.model.parameters()).device
        phones, phone_lengths, speed, pitch, energy = (each.to(device) for each in inputs)
        encoding = self.model.encode(phones, phone_lengths)
        durations = encoding.durations(speed)

        def adjust_pitch(predicted: Tensor) -> Tensor:
            return predicted + pitch.log() / self.statistics["pitch"]["std"]

        def adjust_energy(predicted: Tensor) -> Tensor:
            offset = self.statistics["energy"]["mean"] / self.statistics["energy"]["std"]
            return (predicted + offset) * energy - offset

        output = self.model.decode(encoding, durations, adjust_pitch, adjust_energy)
        mel = output.mel_postnet
        if self.mel_ratio is not None:
            mel = compensate(mel, self.mel_ratio, padding_mask(output.frame_lengths, mel.shape[1]))
        return Spoken(
            mel,
            output.frame_lengths,
            durations,
            self._raw("pitch", adjust_pitch(output.pitch)),
            self._raw("energy", adjust_energy(output.energy)),
        )

    def _raw(self, name: str, normalised: Tensor) -> Tensor:
        return normalised * self.statistics[name]["std"] + self.statistics[name]["mean"]
