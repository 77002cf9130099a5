"""F0 of a synthesised sentence against a recording of it, by the definitions of published figures.

The path and F0 are those of ESPnet's `evaluate_f0.py`: WORLD's harvest from 40 to 800 Hz, and
fastdtw over mel-cepstra (order 34, alpha 0.45) of WORLD's spectral envelope.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from audio.constants import SAMPLE_RATE
from audio.f0 import PERIOD
from audio.mel import WINDOW
from evaluation.metrics.distances import cepstral_path
from evaluation.metrics.measures import LOWER, Measure
from evaluation.metrics.mel_cepstra import ALPHA, ORDER, frequency_warping

GROSS = 0.2
"""A relative error of F0 above this is gross (Nakatani et al. 2008)."""


@dataclass
class PitchDistance:
    """Distances of F0 along the DTW path; sums are over frames that are voiced in both."""

    espnet_log_f0_rmse: float
    """of the natural log of F0"""
    f0_correlation: float
    """Pearson's, of F0 in Hz"""
    gross_pitch_errors: int
    """frames whose F0 is more than 20 % off"""
    pitch_frames: int
    """frames that are voiced in both"""
    f0_frame_errors: int
    """gross errors, and frames that are voiced in only one of the two (Chu and Alwan 2009)"""
    path_frames: int
    """length of the path"""


def pitch_distance(reference: np.ndarray, other: np.ndarray) -> PitchDistance:
    """Compare two waveforms `[samples]` in [-1, 1] at 22,050 Hz; NaN where nothing is voiced."""
    (cepstra, f0), (other_cepstra, other_f0) = map(_world_features, (reference, other))
    path = cepstral_path(other_cepstra, cepstra)
    found, wanted = other_f0[path[:, 0]], f0[path[:, 1]]
    voiced = (found > 0) & (wanted > 0)
    first, second = found[voiced], wanted[voiced]
    gross = np.abs(first - second) > GROSS * second
    differs = (found > 0) != (wanted > 0)
    rmse, correlation = np.nan, np.nan
    if len(first) > 1:
        rmse = float(np.sqrt(np.mean(np.square(np.log(first) - np.log(second)))))
        correlation = float(np.corrcoef(first, second)[0, 1])
    return PitchDistance(
        rmse,
        correlation,
        int(gross.sum()),
        int(voiced.sum()),
        int(gross.sum() + differs.sum()),
        len(path),
    )


def _world_features(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mel-cepstra `[frames, order + 1]` and F0 `[frames]` of 16-bit samples, as ESPnet has them."""
    import pyworld

    samples = np.clip(np.round(waveform.astype(np.float64) * 32768), -32768, 32767)
    options = {"f0_floor": 40, "f0_ceil": 800, "frame_period": PERIOD}
    f0, times = pyworld.harvest(samples, SAMPLE_RATE, **options)
    power = pyworld.cheaptrick(samples, f0, times, SAMPLE_RATE, fft_size=WINDOW)
    cepstrum = np.fft.irfft(np.log(power))
    cepstrum[:, 0] /= 2
    return cepstrum @ _warping(), f0


@cache
def _warping() -> np.ndarray:
    return frequency_warping(WINDOW - 1, ORDER, ALPHA)


_PATH = (
    "WORLD's harvest from 40 to 800 Hz along fastdtw's path over mel-cepstra of WORLD's envelope"
)
PITCH_MEASURES = [
    Measure(
        name="espnet_log_f0_rmse",
        heading="log-F0 RMSE (ESPnet)",
        set="heldout",
        amount="espnet_log_f0_rmse",
        better=LOWER,
        decimals=3,
        definition="Root mean square error of the natural log of F0 in each sentence, averaged "
        f"over sentences (ESPnet's definition): {_PATH}, over frames that are voiced in both.",
    ),
    Measure(
        name="f0_correlation",
        heading="F0 correlation",
        set="heldout",
        amount="f0_correlation",
        decimals=3,
        definition="Pearson's correlation of F0 in Hz in each sentence, averaged over sentences, "
        "of the same frames.",
    ),
    Measure(
        name="gross_pitch_error",
        heading="GPE, %",
        set="heldout",
        amount="gross_pitch_errors",
        weight="pitch_frames",
        scale=100,
        definition="Fraction of the same frames whose F0 is more than 20 % off.",
    ),
    Measure(
        name="f0_frame_error",
        heading="FFE, %",
        set="heldout",
        amount="f0_frame_errors",
        weight="path_frames",
        scale=100,
        definition="Fraction of all frames of the path that are gross errors, or voiced in only "
        "one of the two recordings.",
    ),
]
"""Only of runs that were evaluated with `evaluation.pitch=true`."""
