"""The acoustic model for synthesis: from phone indices and control factors to mels."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.model.output import Encoding, FastSpeech2Output
from fastspeech2.packing import padding_mask
from fastspeech2.synthesis.compensation import compensate
from fastspeech2.synthesis.mel_domain import MelDomain
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
        mel_kind: of the mels that it was trained on, a name in `audio.constants.MEL_KINDS`.

    Raises:
        RecipeError: the model predicts pitch or energy per frame, not per phone.
    """

    def __init__(
        self,
        model: FastSpeech2,
        statistics: dict,
        mel_ratio: Sequence[float] | None = None,
        mel_kind: str = "hifigan",
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
        self.domain = MelDomain(model.normalised_mel, statistics, mel_kind).to(device)

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

        def adjust_pitch(predicted: Tensor) -> Tensor:
            return predicted + pitch.log() / self.statistics["pitch"]["std"]

        def adjust_energy(predicted: Tensor) -> Tensor:
            offset = self.statistics["energy"]["mean"] / self.statistics["energy"]["std"]
            return (predicted + offset) * energy - offset

        return self._decode(encoding, encoding.durations(speed), adjust_pitch, adjust_energy)

    def given(self, phones: Tensor, durations: Tensor, pitch: Tensor, energy: Tensor) -> Spoken:
        """Synthesise one utterance as it is given, on the model's device.

        Args:
            phones: indices, `[1, phones]`.
            durations: frames, `[1, phones]`, of which one at least is not zero.
            pitch: natural log of F0 in Hz, `[1, phones]`.
            energy: in the units of the feature store, `[1, phones]`.
        """
        device = next(self.model.parameters()).device
        inputs = (phones, durations, pitch, energy)
        phones, durations, pitch, energy = (each.to(device) for each in inputs)
        lengths = torch.full((1,), phones.shape[1], device=device)
        values = [
            lambda _, value=value, name=name: self._normalised(name, value)
            for name, value in (("pitch", pitch), ("energy", energy))
        ]
        return self._decode(self.model.encode(phones, lengths), durations, *values)

    def _decode(
        self,
        encoding: Encoding,
        durations: Tensor,
        pitch: Callable[[Tensor], Tensor],
        energy: Callable[[Tensor], Tensor],
    ) -> Spoken:
        """Decode; pitch and energy are functions from predicted to spoken values, normalised."""
        output = self.model.decode(encoding, durations, pitch, energy)
        return Spoken(
            self.hifigan_mel(output),
            output.frame_lengths,
            durations,
            self._raw("pitch", pitch(output.pitch)),
            self._raw("energy", energy(output.energy)),
        )

    def _normalised(self, name: str, raw: Tensor) -> Tensor:
        return (raw - self.statistics[name]["mean"]) / self.statistics[name]["std"]

    def hifigan_mel(self, output: FastSpeech2Output) -> Tensor:
        """HiFi-GAN's log-mel `[batch, frames, mels]` of what the model gave, compensated."""
        mel = self.domain(output.mel_postnet)
        if self.mel_ratio is None:
            return mel
        return compensate(mel, self.mel_ratio, padding_mask(output.frame_lengths, mel.shape[1]))

    def _raw(self, name: str, normalised: Tensor) -> Tensor:
        return normalised * self.statistics[name]["std"] + self.statistics[name]["mean"]
