"""Distances between a synthesised sentence and a recording of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fastdtw import fastdtw

from audio.constants import HOP, SAMPLE_RATE
from audio.f0 import estimate_f0
from audio.mel import WINDOW
from audio.settings import F0Settings
from evaluation.metrics.mel_cepstra import mel_cepstra


def log_f0(waveform: np.ndarray, frames: int, settings: F0Settings) -> np.ndarray:
    """Natural log of F0 in Hz at the centres of the mel-cepstra, `[frames]`; NaN where unvoiced."""
    # Frame i of the F0 estimate is centred at sample 256 i + 128, that of the mel-cepstra at
    # 256 i + 512.
    f0 = estimate_f0(waveform[WINDOW // 2 - HOP // 2 :], settings)[:frames].astype(np.float64)
    return np.log(f0, out=np.full(len(f0), np.nan), where=f0 > 0)


@dataclass
class Distance:
    """Distances between two recordings of one sentence along the DTW path of their mel-cepstra."""

    mcd: float
    """mel-cepstral distortion, dB"""
    f0_squared_error: float
    """of the natural log of F0, summed over frames that are voiced in both"""
    f0_frames: int
    """frames that are voiced in both"""
    voicing_errors: int
    """frames that are voiced in only one of the two"""
    frames: int
    """length of the path"""


def mcd(reference: np.ndarray, other: np.ndarray) -> float:
    """Mean of 10 / ln 10 · sqrt(2 Σ (c - c')²) in dB over aligned mel-cepstra `[frames, order]`."""
    squared = np.square(reference - other).sum(axis=1)
    return float(np.mean(10.0 / np.log(10.0) * np.sqrt(2.0 * squared)))


def cepstral_path(reference: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pairs of frames that fastdtw aligns, `[pairs, 2]`, for mel-cepstra `[frames, order]`."""
    return np.array(fastdtw(reference, other, dist=2)[1])


def distance(reference: np.ndarray, other: np.ndarray, settings: F0Settings) -> Distance:
    """Compare two waveforms `[samples]` at 22,050 Hz; `settings` is `evaluation.f0`."""
    cepstra = [mel_cepstra(waveform) for waveform in (reference, other)]
    path = cepstral_path(*cepstra)
    pitches = [
        log_f0(waveform, len(frames), settings)
        for waveform, frames in zip((reference, other), cepstra, strict=True)
    ]
    first, second = (pitch[rows] for pitch, rows in zip(pitches, path.T, strict=True))
    voiced = ~np.isnan(first), ~np.isnan(second)
    both = voiced[0] & voiced[1]
    return Distance(
        mcd=mcd(*(frames[rows] for frames, rows in zip(cepstra, path.T, strict=True))),
        f0_squared_error=float(np.square(first - second)[both].sum()),
        f0_frames=int(both.sum()),
        voicing_errors=int((voiced[0] != voiced[1]).sum()),
        frames=len(path),
    )


def duration_errors_ms(reference: Sequence[int], other: Sequence[int]) -> np.ndarray:
    """Differences in milliseconds between phone durations given in frames, `[phones]`."""
    difference = np.asarray(other, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    return difference * 1000 * HOP / SAMPLE_RATE
