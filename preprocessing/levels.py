"""Finds recordings whose level, offset or clipping sets them apart from the rest of the corpus.

Each recording is compared with the median of the corpus. A single recording tells little, since
corpora differ in all of this, and a mean would follow the recordings that are to be found.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from audio.constants import SAMPLE_RATE
from pipeline.errors import UtteranceError

LEVEL = 15.0
"""dB that a recording may be louder or quieter than the corpus's median; allison's are within 11"""
OFFSET = 0.1
"""the constant part of a waveform, as a fraction of the rest's RMS; 0.005 at most in allison"""
NEAR_PEAK = 0.02
"""fraction of samples within a tenth of the peak; 0.012 at most in allison"""
FLAT = 0.001
"""fraction of samples near the peak that are equal to the one before; 0.0001 at most in allison"""
SPREADS = 6.0
"""In a corpus that varies much, the limits grow to this many robust standard deviations."""
WIDEST = 1.5
"""The limits grow by this factor at most. A small corpus may vary only because of its faults."""


class Levels(NamedTuple):
    """What is measured of one recording."""

    decibels: float
    """RMS of its loudest half second over full scale, so that pauses do not count"""
    offset: float
    """mean over RMS"""
    near_peak: float
    """fraction of samples within a tenth of the highest or lowest one"""
    flat: float
    """fraction of samples near the peak that are equal to the sample before"""


def measure_levels(waveform: np.ndarray) -> Levels:
    """Measure a recording, `[samples]`."""
    mean = float(waveform.mean(dtype=np.float64))
    power = np.square(waveform - mean)
    hop = min(SAMPLE_RATE // 100, len(power))
    blocks = np.sort(power[: len(power) // hop * hop].reshape(-1, hop).mean(1))[-50:]
    highest, lowest = waveform.max(), waveform.min()
    near = np.flatnonzero((waveform >= 0.9 * highest) | (waveform <= 0.9 * lowest))
    flat = near[waveform[near] == waveform[near - 1]]
    return Levels(
        decibels=10 * float(np.log10(max(blocks.mean(), 1e-18))),
        offset=mean / max(float(np.sqrt(power.mean())), 1e-9),
        near_peak=len(near) / len(waveform),
        flat=len(flat) / len(waveform),
    )


def unusual_levels(levels: Mapping[str, Levels]) -> list[tuple[str, UtteranceError]]:
    """Faults of the recordings, by id, that differ from the corpus by more than these limits."""
    if not levels:
        return []
    values = np.array(list(levels.values()))
    median = np.median(values, axis=0)
    # The median deviation, scaled to equal the standard deviation of a normal distribution.
    spread = 1.4826 * np.median(np.abs(values - median), axis=0)
    least = np.array([LEVEL, OFFSET, NEAR_PEAK, FLAT])
    limits = np.clip(SPREADS * spread, least, WIDEST * least)
    faults = []
    for id, measured in levels.items():
        decibels, offset, near_peak, flat = np.array(measured) - median
        if abs(decibels) > limits[0]:
            how = "louder" if decibels > 0 else "quieter"
            reason = f"is {abs(decibels):.0f} dB {how} than the corpus's median"
            faults.append((id, UtteranceError("wav_level", reason)))
        elif abs(offset) > limits[1]:
            reason = f"has an offset of {100 * measured.offset:.0f} % of its RMS: remove its mean"
            faults.append((id, UtteranceError("wav_offset", reason)))
        elif near_peak > limits[2] or flat > limits[3]:
            reason = f"is clipped: {100 * measured.near_peak:.1f} % of its samples are at its peak"
            faults.append((id, UtteranceError("wav_clipped", reason)))
    return faults
