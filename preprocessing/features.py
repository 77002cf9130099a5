"""One utterance's acoustic features: HiFi-GAN mel, WORLD F0, energy, and their phone averages."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocessing.choices import chosen
from preprocessing.corpus import read_wav
from preprocessing.errors import RecipeError
from preprocessing.frames import HOP, SAMPLE_RATE
from preprocessing.textgrid import ARPABET, Segment, read_textgrid, segments

PERIOD = 1000 * HOP / SAMPLE_RATE
"""milliseconds from one frame to the next"""
SHORTEST_FRAMES = 4
"""A shorter segment cannot be reflected at its ends, as HiFi-GAN's mel wants."""


@dataclass(frozen=True)
class Settings:
    """What the features depend on; see conf/features/."""

    method: str
    """of F0: dio or harvest"""
    floor: float
    """lowest F0, Hz"""
    ceiling: float
    """highest F0, Hz"""
    decimation: int
    """of the signal in which dio seeks candidates"""
    shortest_pause: float
    """seconds"""
    max_seconds: float | None
    """of a segment"""
    phones: frozenset[str] = ARPABET
    """that an alignment may have"""

    def __post_init__(self):
        _f0_method(self.method)  # told once, rather than of each utterance


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


def estimate_f0(waveform: np.ndarray, settings: Settings) -> np.ndarray:
    """WORLD's F0 in Hz at the centre of each mel frame, 0 where unvoiced, `[samples // 256 + 1]`.

    Mel frame i is centred at sample 256 i + 128, WORLD's at 256 i: hence the shift.
    """
    shifted = waveform[HOP // 2 :].astype(np.float64)
    options = {"f0_floor": settings.floor, "f0_ceil": settings.ceiling, "frame_period": PERIOD}
    f0 = _f0_method(settings.method)(shifted, settings, options)
    missing = len(waveform) // HOP + 1 - len(f0)
    return np.pad(f0, (0, max(missing, 0))).astype(np.float32)


def _f0_method(name: str) -> Callable[[np.ndarray, Settings, dict], np.ndarray]:
    return chosen("features.f0.method", name, {"dio": _dio, "harvest": _harvest})


def _dio(waveform: np.ndarray, settings: Settings, options: dict) -> np.ndarray:
    import pyworld

    f0, times = pyworld.dio(waveform, SAMPLE_RATE, speed=settings.decimation, **options)
    return pyworld.stonemask(waveform, f0, times, SAMPLE_RATE)


def _harvest(waveform: np.ndarray, settings: Settings, options: dict) -> np.ndarray:
    import pyworld

    return pyworld.harvest(waveform, SAMPLE_RATE, **options)[0]


def continuous_log_f0(f0: np.ndarray) -> np.ndarray:
    """Natural logarithm of F0, linear between voiced frames and constant beyond them (ESPnet)."""
    voiced = np.flatnonzero(f0)
    return np.interp(np.arange(len(f0)), voiced, np.log(f0[voiced])).astype(np.float32)


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

    from preprocessing.mel import magnitude, mel_of_magnitude

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
