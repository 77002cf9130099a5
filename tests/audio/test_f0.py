"""F0 of known tones, and its continuous logarithm."""

import numpy as np
import pytest

from audio.f0 import continuous_log_f0, estimate_f0
from audio.settings import F0Settings

DIO = F0Settings(method="dio", floor=71, ceiling=800, decimation=4)


@pytest.mark.parametrize("method", ["dio", "harvest"])
def test_f0_of_a_glide_is_right_at_the_centres_of_the_frames(method):
    """F0 rises from 120 to 240 Hz in two seconds. An error of half a hop would be 0.7 Hz."""
    seconds = np.arange(2 * 22050) / 22050
    phase = 2 * np.pi * (120 * seconds + 30 * seconds**2)
    waveform = sum(np.sin(k * phase) / k for k in range(1, 15)).astype(np.float32) * 0.2
    f0 = estimate_f0(waveform, DIO.model_copy(update={"method": method}))
    centres = (np.arange(len(f0)) * 256 + 128) / 22050
    inside = slice(20, 150)
    assert np.all(f0[inside] > 0)
    error = f0[inside] - (120 + 60 * centres[inside])
    assert abs(np.median(error)) < 0.15 and np.abs(error).max() < 1


def test_f0_of_noise_is_unvoiced():
    noise = np.random.default_rng(0).normal(0, 0.05, 22050).astype(np.float32)
    assert np.mean(estimate_f0(noise, DIO) > 0) < 0.2


def test_the_logarithm_is_linear_over_unvoiced_frames_and_constant_at_both_ends():
    f0 = np.array([0, 100, 0, 0, 800, 0], dtype=np.float32)
    log_f0 = continuous_log_f0(f0)
    np.testing.assert_allclose(np.exp(log_f0), [100, 100, 200, 400, 800, 800], rtol=1e-5)
