"""Loudness by EBU R 128: integrated, gated, of ITU-R BS.1770, which pyloudnorm measures."""

import numpy as np
import pyloudnorm

from pipeline.errors import RecipeError

TARGET = -23.0
"""LUFS, EBU R 128's"""
HIGHEST_PEAK = 10 ** (-1 / 20)
"""-1 dB of full scale"""


def loudness(waveform: np.ndarray, rate: int) -> float:
    """Integrated loudness of `[samples]` in LUFS.

    Raises:
        RecipeError: a clip of less than 0.4 s, or silence.
    """
    if len(waveform) < 0.4 * rate:
        raise RecipeError("loudness is measured over blocks of 0.4 s: this clip is shorter")
    value = float(pyloudnorm.Meter(rate).integrated_loudness(waveform))
    if not np.isfinite(value):
        raise RecipeError("a silent clip has no loudness")
    return value


def matched(waveforms: dict[str, np.ndarray], rate: int) -> dict[str, np.ndarray]:
    """All at `TARGET`, or all equally softer where a peak would come above `HIGHEST_PEAK`.

    Raises:
        RecipeError: a clip is too short or silent; names it.
    """
    gained = {}
    for name, waveform in waveforms.items():
        try:
            gained[name] = waveform * 10 ** ((TARGET - loudness(waveform, rate)) / 20)
        except RecipeError as error:
            raise RecipeError(f"{name}: {error}") from None
    highest = max(np.abs(waveform).max() for waveform in gained.values())
    softer = min(1.0, HIGHEST_PEAK / highest)
    return {name: waveform * softer for name, waveform in gained.items()}
