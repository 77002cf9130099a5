"""ESPnet's log-mel (espnet2/tts/feats_extract/log_mel_fbank.py), and its conversion to HiFi-GAN's.

ESPnet's recipe for LJSpeech has a centred window, 80 bands from 80 to 7600 Hz and the decimal
logarithm; HiFi-GAN has bands from 0 to 8000 Hz and the natural logarithm.
"""

import math
from functools import cache

import torch
from torch import Tensor

from audio.constants import HOP, MELS, SAMPLE_RATE
from audio.mel import FLOOR as HIFIGAN_FLOOR
from audio.mel import HIGHEST_FREQUENCY, WINDOW, hann_window

FREQUENCIES = (80, 7600)
"""Hz, of the lowest and the highest band"""
FLOOR = 1e-10
"""the least power, and the least magnitude of a band before the logarithm"""
LOSS = (
    "ESPnet's mel (80 to 7600 Hz) is converted to HiFi-GAN's (0 to 8000 Hz) by interpolation "
    "between bands: on average log-mels are some 0.09 off, and the two lowest bands and the "
    "highest one only repeat their neighbours"
)
"""What the conversion costs, for messages. The figure is from tests/audio/test_espnet_mel.py."""


@cache
def _filters() -> Tensor:
    import librosa

    low, high = FREQUENCIES
    filters = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=MELS, fmin=low, fmax=high)
    return torch.from_numpy(filters)


def centred_magnitude(waveform: Tensor) -> Tensor:
    """Magnitude spectrogram `[bins, samples // 256]` whose frame i is centred at sample 256 i."""
    spectrum = torch.stft(
        waveform, WINDOW, HOP, window=hann_window().to(waveform.device), return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    return power.clamp(min=FLOOR).sqrt()[..., : waveform.shape[-1] // HOP]


def espnet_mel_of_magnitude(magnitudes: Tensor) -> Tensor:
    """Decimal log-mel `[mels, frames]` of a magnitude spectrogram `[bins, frames]`."""
    return torch.log10(torch.clamp(_filters().to(magnitudes.device) @ magnitudes, min=FLOOR))


@cache
def hifigan_bands() -> Tensor:
    """Matrix `[hifigan mels, espnet mels]` that interpolates between the centres of the bands."""
    import librosa

    def centres(low: float, high: float) -> list[float]:
        frequencies = librosa.mel_frequencies(MELS + 2, fmin=low, fmax=high)[1:-1]
        return librosa.hz_to_mel(frequencies).tolist()

    found, wanted = centres(*FREQUENCIES), centres(0, HIGHEST_FREQUENCY)
    step = (found[-1] - found[0]) / (MELS - 1)
    matrix = torch.zeros(MELS, MELS)
    for row, centre in enumerate(wanted):
        place = min(max((centre - found[0]) / step, 0.0), MELS - 1.0)
        below = min(int(place), MELS - 2)
        matrix[row, below], matrix[row, below + 1] = below + 1 - place, place - below
    return matrix


def to_hifigan(mel: Tensor, kind: str) -> Tensor:
    """HiFi-GAN's log-mel `[..., mels]` of a kind in `MEL_KINDS`; see `LOSS`."""
    if kind == "hifigan":
        return mel
    natural = math.log(10.0) * (mel @ hifigan_bands().to(mel).T)
    return natural.clamp(min=math.log(HIFIGAN_FLOOR))
