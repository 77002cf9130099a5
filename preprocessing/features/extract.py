"""One utterance's acoustic features: HiFi-GAN mel, WORLD F0, energy, and their phone averages."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audio.constants import HOP, SAMPLE_RATE
from audio.f0 import F0Settings, continuous_log_f0, estimate_f0
from audio.wav import read_wav
from pipeline.errors import RecipeError
from preprocessing.alignment.segments import Segment, segments
from preprocessing.alignment.textgrid import read_textgrid
from preprocessing.text.phones import ARPABET

SHORTEST_FRAMES = 4
"""A shorter segment cannot be reflected at its ends, as HiFi-GAN's mel wants."""


@dataclass(frozen=True)
class Settings(F0Settings):
    """What the features depend on; see conf/features/."""

    shortest_pause: float
    """seconds"""
    max_seconds: float | None
    """of a segment"""
    phones: frozenset[str] = ARPABET
    """that an alignment may have"""


@dataclass(frozen=True)
class SegmentFeatures:
    """Arrays of one segment, whose durations add up to its frames."""

    segment: Segment
    mel: np.ndarray
    """log-mel, float32 `[frames, mels]`"""
    f0: np.ndarray
    """Hz, 0 where unvoiced, float32 `[frames]`"""
    energy_frames: np.ndarray
    """L2 norm of the magnitude spectrum, float32 `[frames]`"""
    pitch: np.ndarray
    """natural logarithm of F0, interpolated over unvoiced frames, mean of each phone, `[phones]`"""
    energy: np.ndarray
    """mean of each phone, `[phones]`"""


def phone_means(values: np.ndarray, durations: np.ndarray) -> np.ndarray:
    """Mean over each phone's frames, `[frames]` and `[phones]` to `[phones]`.

    A phone of no frames takes the value of the frame where it would begin.
    """
    ends = np.cumsum(durations)
    starts = ends - durations
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    means = (sums[ends] - sums[starts]) / np.maximum(durations, 1)
    first = values[np.minimum(starts, len(values) - 1)]
    return np.where(durations > 0, means, first).astype(np.float32)


def extract(wav: Path, textgrid: Path, settings: Settings) -> list[SegmentFeatures]:
    """Features of an utterance's segments.

    Raises:
        RecipeError: the recording or its alignment is not usable.
    """
    import torch

    from audio.mel import magnitude, mel_of_magnitude

    waveform = read_wav(wav)
    alignment = read_textgrid(textgrid, settings.shortest_pause, settings.phones)
    frame_rate = SAMPLE_RATE / HOP
    cut = segments(alignment, len(waveform) // HOP, frame_rate, settings.max_seconds)
    f0 = estimate_f0(waveform, settings)
    if not f0.any():
        raise RecipeError("has no voiced frame, so that its pitch is unknown")
    log_f0 = continuous_log_f0(f0)
    features = []
    for segment in cut:
        durations = np.array(segment.durations)
        frames = slice(segment.start, segment.start + int(durations.sum()))
        if frames.stop - frames.start < SHORTEST_FRAMES:
            raise RecipeError(f"has a segment of {frames.stop - frames.start} frames")
        samples = torch.from_numpy(waveform[frames.start * HOP : frames.stop * HOP])
        magnitudes = magnitude(samples)
        energy = torch.linalg.vector_norm(magnitudes, dim=0).numpy()
        mel = mel_of_magnitude(magnitudes).T.contiguous().numpy()
        assert len(mel) == durations.sum(), f"{wav}: {len(mel)} frames, {durations.sum()} in phones"
        features.append(
            SegmentFeatures(
                segment=segment,
                mel=mel,
                f0=f0[frames],
                energy_frames=energy,
                pitch=phone_means(log_f0[frames], durations),
                energy=phone_means(energy, durations),
            )
        )
    return features
