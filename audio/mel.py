"""HiFi-GAN's log-mel spectrogram (jik876/hifi-gan, meldataset.py), which its vocoders expect."""

from functools import cache

import torch
from torch import Tensor

from audio.constants import HOP, MELS, SAMPLE_RATE

WINDOW = 1024
"""samples of the Hann window and of the Fourier transform"""
FLOOR = 1e-5
"""the least magnitude of a band, before the logarithm"""
HIGHEST_FREQUENCY = 8000
"""Hz"""
PADDING = (WINDOW - HOP) // 2
"""Samples reflected at each end, so that `[samples]` gives `samples // HOP` frames."""


@cache
def hann_window() -> Tensor:
    """The Hann window of all spectrograms, `[1024]`."""
    return torch.hann_window(WINDOW)


@cache
def _filters() -> Tensor:
    import librosa

    filters = librosa.filters.mel(
        sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=MELS, fmin=0, fmax=HIGHEST_FREQUENCY
    )
    return torch.from_numpy(filters)


def magnitude(waveform: Tensor) -> Tensor:
    """Magnitude spectrogram `[bins, frames]` of a waveform `[samples]` at 22,050 Hz.

    The waveform needs 385 samples or more. Here and below a batch `[batch, samples]` gives
    `[batch, bins, frames]`, and gradients flow through.
    """
    padded = torch.nn.functional.pad(waveform[None], (PADDING, PADDING), mode="reflect")[0]
    window = hann_window().to(waveform.device)
    spectrum = torch.stft(padded, WINDOW, HOP, window=window, center=False, return_complex=True)
    return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-9)


def mel_of_magnitude(magnitudes: Tensor) -> Tensor:
    """Log-mel spectrogram `[mels, frames]` of a magnitude spectrogram `[bins, frames]`."""
    return torch.log(torch.clamp(_filters().to(magnitudes.device) @ magnitudes, min=FLOOR))


def log_mel(waveform: Tensor) -> Tensor:
    """Log-mel spectrogram `[mels, frames]` of a waveform `[samples]` at 22,050 Hz in [-1, 1].

    The logarithm is natural, and at least that of 1e-5. Frame i is centred at sample 256 i + 128.
    """
    return mel_of_magnitude(magnitude(waveform))
