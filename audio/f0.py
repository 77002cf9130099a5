"""WORLD's fundamental frequency (F0)."""

import numpy as np

from audio.constants import HOP, SAMPLE_RATE
from audio.settings import F0Settings

PERIOD = 1000 * HOP / SAMPLE_RATE
"""milliseconds from one frame to the next"""


def estimate_f0(waveform: np.ndarray, settings: F0Settings, offset: int = HOP // 2) -> np.ndarray:
    """Estimate F0 in Hz at the centre of each mel frame, 0 where unvoiced, `[samples // 256 + 1]`.

    HiFi-GAN's mel frame i is centred at sample 256 i + 128 and WORLD's at sample 256 i, so the
    waveform is shifted by `offset` samples; ESPnet's frames need no shift.
    """
    shifted = waveform[offset:].astype(np.float64)
    options = {"f0_floor": settings.floor, "f0_ceil": settings.ceiling, "frame_period": PERIOD}
    method = {"dio": _dio, "harvest": _harvest}[settings.method]
    f0 = method(shifted, settings, options)
    missing = len(waveform) // HOP + 1 - len(f0)
    return np.pad(f0, (0, max(missing, 0))).astype(np.float32)


def _dio(waveform: np.ndarray, settings: F0Settings, options: dict) -> np.ndarray:
    import pyworld

    f0, times = pyworld.dio(waveform, SAMPLE_RATE, speed=settings.decimation, **options)
    return pyworld.stonemask(waveform, f0, times, SAMPLE_RATE)


def _harvest(waveform: np.ndarray, settings: F0Settings, options: dict) -> np.ndarray:
    import pyworld

    return pyworld.harvest(waveform, SAMPLE_RATE, **options)[0]


def continuous_log_f0(f0: np.ndarray, in_hertz: bool = False) -> np.ndarray:
    """Natural logarithm of F0, interpolated over unvoiced frames, `[frames]`.

    The logarithm is linear between voiced frames and constant before the first and after the last.
    With `in_hertz` F0 itself is linear there, as in ESPnet.
    """
    voiced = np.flatnonzero(f0)
    if in_hertz:
        return np.log(np.interp(np.arange(len(f0)), voiced, f0[voiced])).astype(np.float32)
    return np.interp(np.arange(len(f0)), voiced, np.log(f0[voiced])).astype(np.float32)
