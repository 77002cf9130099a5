"""Matches the loudness of clips by EBU R 128 (gated and integrated, ITU-R BS.1770)."""

import numpy as np
import pyloudnorm

from pipeline.errors import RecipeError

TARGET = -23.0
"""LUFS, the level of EBU R 128"""
MAX_PEAK = 10 ** (-1 / 20)
"""-1 dB relative to full scale"""


def loudness(waveform: np.ndarray, rate: int) -> float:
    """Measure the integrated loudness of `[samples]` in LUFS.

    Raises:
        RecipeError: the clip is shorter than 0.4 s or silent.
    """
    if len(waveform) < 0.4 * rate:
        raise RecipeError("the clip is shorter than 0.4 s, too short to measure its loudness")
    value = float(pyloudnorm.Meter(rate).integrated_loudness(waveform))
    if not np.isfinite(value):
        raise RecipeError("the clip is silent")
    return value


def match_loudness(waveforms: dict[str, np.ndarray], rate: int) -> dict[str, np.ndarray]:
    """Scale all clips to `TARGET`, or all to the same lower level so that none exceeds `MAX_PEAK`.

    Raises:
        RecipeError: a clip is too short or silent. It is named.
    """
    scaled = {}
    for name, waveform in waveforms.items():
        try:
            scaled[name] = waveform * 10 ** ((TARGET - loudness(waveform, rate)) / 20)
        except RecipeError as error:
            raise RecipeError(f"{name}: {error}") from None
    peak = max(np.abs(waveform).max() for waveform in scaled.values())
    gain = min(1.0, MAX_PEAK / peak)
    return {name: waveform * gain for name, waveform in scaled.items()}
