"""How far synthesised speech is from a recording of the same sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fastdtw import fastdtw
from omegaconf import DictConfig

from audio.constants import HOP, SAMPLE_RATE
from audio.f0 import estimate_f0
from audio.mel import WINDOW
from evaluation.metrics.mel_cepstra import mel_cepstra


def log_f0(waveform: np.ndarray, frames: int, settings: DictConfig) -> np.ndarray:
    """Natural log of F0 in Hz, NaN where unvoiced, at the centres of mel-cepstra, `[frames]`."""
    # The estimate's frame i is centred at sample 256 i + 128, the mel-cepstra's at 256 i + 512.
    f0 = estimate_f0(waveform[WINDOW // 2 - HOP // 2 :], settings)[:frames].astype(np.float64)
    return np.log(f0, out=np.full(len(f0), np.nan), where=f0 > 0)


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


def cepstral_path(reference: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pairs of frames that fastdtw aligns, `[pairs, 2]`, of mel-cepstra `[frames, order]`."""
    return np.array(fastdtw(reference, other, dist=2)[1])


def distance(reference: np.ndarray, other: np.ndarray, settings: DictConfig) -> Distance:
    """Between waveforms `[samples]` at 22,050 Hz; F0 as `evaluation.f0` says."""
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
    """Differences of phones' durations, from frames to milliseconds, `[phones]`."""
    difference = np.asarray(other, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    return difference * 1000 * HOP / SAMPLE_RATE
