"""How far synthesised speech is from a recording of the same sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pysptk
import pyworld
from fastdtw import fastdtw

from preprocessing.corpus import SAMPLE_RATE
from preprocessing.mel import HOP, WINDOW

MCEP_ORDER = 34
MCEP_ALPHA = 0.45
"""All-pass constant for 22,050 Hz."""


def mel_cepstra(waveform: np.ndarray) -> np.ndarray:
    """SPTK mel-cepstra of `[samples]` in [-1, 1] at 22,050 Hz, `[frames, order + 1]`, c0 first.

    The settings are ESPnet's: order 34, alpha 0.45, Hamming window of 1024, hop of 256 samples,
    amplitudes as 16-bit integers.
    """
    samples = np.round(waveform.astype(np.float64) * 32768)
    samples = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    windowed = frames * pysptk.sptk.hamming(WINDOW)
    return np.stack(
        [pysptk.mcep(frame, MCEP_ORDER, MCEP_ALPHA, eps=1e-6, etype=1) for frame in windowed]
    )


def log_f0(waveform: np.ndarray) -> np.ndarray:
    """WORLD's F0 (harvest) in natural log of Hz, NaN where unvoiced, a value per 256 samples."""
    period = 1000 * HOP / SAMPLE_RATE
    f0, _ = pyworld.harvest(
        waveform.astype(np.float64), SAMPLE_RATE, f0_floor=71, f0_ceil=600, frame_period=period
    )
    return np.log(f0, out=np.full_like(f0, np.nan), where=f0 > 0)


@dataclass
class Distance:
    """Between two recordings of one sentence, along the path of their mel-cepstra's DTW."""

    mcd: float
    """mel-cepstral distortion, dB"""
    f0_squared_error: float
    """summed over frames voiced in both, natural log"""
    f0_frames: int
    voicing_errors: int
    """frames voiced in one and not in the other"""
    frames: int


def mcd(reference: np.ndarray, other: np.ndarray) -> float:
    """Mean of 10 / ln 10 · sqrt(2 Σ (c - c')²) in dB over aligned mel-cepstra `[frames, order]`."""
    squared = np.square(reference - other).sum(axis=1)
    return float(np.mean(10.0 / np.log(10.0) * np.sqrt(2.0 * squared)))


def distance(reference: np.ndarray, other: np.ndarray) -> Distance:
    """Between waveforms `[samples]` at 22,050 Hz."""
    cepstra = [mel_cepstra(waveform) for waveform in (reference, other)]
    path = np.array(fastdtw(*cepstra, dist=2)[1])
    pitches = [log_f0(waveform) for waveform in (reference, other)]
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
    """Differences of phones' durations, from frames to milliseconds, `[phones]`."""
    difference = np.asarray(other, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    return difference * 1000 * HOP / SAMPLE_RATE
