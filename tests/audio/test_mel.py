"""The log-mel spectrogram against librosa's."""

import librosa
import numpy as np
import pytest
import torch

from audio.mel import log_mel


def test_log_mel_is_hifigans():
    """The definition in HiFi-GAN's meldataset.py, computed by librosa."""
    waveform = np.random.default_rng(0).normal(0, 0.1, 22050).astype(np.float32)
    waveform[5000:9000] = 0  # where the floor of the logarithm shows
    padded = np.pad(waveform, 384, mode="reflect")
    spectrum = librosa.stft(padded, n_fft=1024, hop_length=256, win_length=1024, center=False)
    filters = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmin=0, fmax=8000)
    expected = np.log(np.maximum(filters @ np.sqrt(np.abs(spectrum) ** 2 + 1e-9), 1e-5))
    mel = log_mel(torch.from_numpy(waveform))
    assert mel.shape == (80, len(waveform) // 256)
    np.testing.assert_allclose(mel, expected, atol=2e-4)


@pytest.mark.parametrize("samples", [385, 1000, 1024, 5119, 5120, 5121])
def test_there_is_a_frame_for_every_256_samples(samples):
    assert log_mel(torch.randn(samples)).shape == (80, samples // 256)
