"""What the encoder and the whole network give."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fastspeech2.packing import PhonePlan


@dataclass
class Encoding:
    """Hidden states of phones, and how long the phones last."""

    hidden: Tensor
    """packed, `[1, rows, channels]`"""
    plan: PhonePlan
    """where the phones lie among the rows"""
    mask: Tensor
    """`[batch, phones]`, True inside the utterance"""
    log_duration: Tensor
    """log(frames + 1), `[batch, phones]`"""
    shortest: int
    """least predicted frames of a phone"""

    def durations(self, speed: Tensor | float = 1.0) -> Tensor:
        """Predicted frames of each phone, `[batch, phones]`, at least `shortest`.

        `speed` divides them. An utterance of no frames at all gets one for each phone, as in
        ESPnet.
        """
        frames = (self.log_duration.float().exp() - 1.0) / speed
        frames = frames.round().clamp(min=self.shortest).long() * self.mask
        if self.shortest == 0:
            frames = torch.where(frames.sum(1, keepdim=True) == 0, self.mask.long(), frames)
        return frames


@dataclass
class FastSpeech2Output:
    """Predictions. `mel_postnet` is `mel` itself if the model has no postnet."""

    mel: Tensor
    """log-mel, `[batch, frames, mels]`"""
    mel_postnet: Tensor
    """log-mel, `[batch, frames, mels]`"""
    pitch: Tensor
    """normalised, `[batch, phones]`, or `[batch, frames]` if it is predicted per frame"""
    energy: Tensor
    """normalised, `[batch, phones]`, or `[batch, frames]` if it is predicted per frame"""
    log_duration: Tensor
    """log(frames + 1), `[batch, phones]`"""
    frame_lengths: Tensor
    """`[batch]`"""
