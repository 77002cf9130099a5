"""Distances in cases with known answers."""

import math

import numpy as np
import pysptk
import pytest

from audio.settings import F0Settings
from evaluation.metrics.distances import distance, duration_errors_ms, log_f0, mcd
from evaluation.metrics.mel_cepstra import ALPHA, ORDER, mel_cepstra

DIO = F0Settings(method="dio", floor=71, ceiling=800, decimation=1)
HARVEST = F0Settings(method="harvest", floor=71, ceiling=800, decimation=1)


def tone(frequency: float, seconds: float = 1.0) -> np.ndarray:
    """A buzz of ten harmonics, which WORLD considers voiced."""
    time = np.arange(round(22_050 * seconds)) / 22_050
    harmonics = [np.sin(2 * np.pi * frequency * n * time) / n for n in range(1, 11)]
    return (0.2 * np.sum(harmonics, axis=0)).astype(np.float32)


def noise(seconds: float = 1.0) -> np.ndarray:
    return (0.05 * np.random.default_rng(0).standard_normal(round(22_050 * seconds))).astype("f4")


def test_mcd_matches_its_closed_form():
    reference = np.zeros((7, 35))
    assert mcd(reference, reference + 0.1) == pytest.approx(
        10 / math.log(10) * math.sqrt(2 * 35 * 0.01)
    )


def test_gain_changes_only_c0():
    waveform = noise()
    difference = mel_cepstra(2 * waveform) - mel_cepstra(waveform)
    # The gain adds log(2) to c0 and leaves the other mel-cepstra unchanged.
    np.testing.assert_allclose(difference[:, 0].mean(), math.log(2), atol=0.02)
    np.testing.assert_allclose(difference[:, 1:].mean(0), 0, atol=0.02)


def frame_by_frame(waveform: np.ndarray) -> np.ndarray:
    """As in ESPnet's evaluate_mcd.py: one call of pysptk for each frame."""
    samples = np.round(waveform.astype(np.float64) * 32768)
    window = pysptk.sptk.hamming(1024)
    starts = range(0, len(samples) - 1023, 256)
    return np.stack(
        [
            pysptk.mcep(samples[i : i + 1024] * window, ORDER, ALPHA, eps=1e-6, etype=1)
            for i in starts
        ]
    )


def test_mel_cepstra_equal_those_of_sptk():
    speechlike = np.concatenate([tone(150), 0.1 * noise(), tone(220) + noise(), np.zeros(3000)])
    found = mel_cepstra(speechlike)
    assert found.shape == (1 + (len(speechlike) - 1024) // 256, ORDER + 1)
    np.testing.assert_allclose(found, frame_by_frame(speechlike), atol=1e-6)


def test_mel_cepstra_describe_the_spectrum():
    cepstra = mel_cepstra(noise())
    envelope = pysptk.mgc2sp(cepstra, ALPHA, 0.0, 1024).real
    # The mean log spectrum of white noise is flat from 500 Hz to 10 kHz, within 1 dB.
    decibels = 20 / math.log(10) * envelope.mean(0)[24:465]
    assert np.ptp(decibels) < 2.0


def test_a_recording_has_no_distance_to_itself_and_little_to_a_slower_one():
    waveform = np.concatenate([tone(150), noise(), tone(220)])
    same = distance(waveform, waveform, DIO)
    assert same.mcd == 0 and same.f0_squared_error == 0 and same.voicing_errors == 0
    slower = np.concatenate([tone(150, 1.5), noise(), tone(220, 1.3)])
    assert distance(waveform, slower, DIO).mcd < 0.3 * distance(waveform, noise(3.0), DIO).mcd


@pytest.mark.parametrize("settings", [DIO, HARVEST], ids=lambda settings: settings.method)
def test_f0_is_found_and_its_error_is_the_musical_interval(settings):
    found = log_f0(tone(200), 60, settings)[20:60]
    np.testing.assert_allclose(np.exp(found), 200, rtol=0.01)
    apart = distance(tone(200), tone(210), settings)
    rmse = math.sqrt(apart.f0_squared_error / apart.f0_frames)
    assert rmse == pytest.approx(math.log(210 / 200), rel=0.1)


def test_f0_and_mel_cepstra_are_aligned():
    """Frame i of both covers samples 256 i to 256 i + 1023."""
    onset = 11_025
    waveform = np.concatenate([np.zeros(onset, np.float32), tone(200)])
    cepstra = mel_cepstra(waveform)
    voiced = np.flatnonzero(~np.isnan(log_f0(waveform, len(cepstra), DIO)))[0]
    assert voiced * 256 + 512 == pytest.approx(onset, abs=3 * 256)
    assert cepstra[voiced + 2, 0] > cepstra[voiced - 3, 0] + 3


def test_voicing_errors_are_counted():
    apart = distance(tone(150), noise(), HARVEST)
    assert apart.voicing_errors / apart.frames > 0.8


def test_duration_errors_are_milliseconds():
    np.testing.assert_allclose(duration_errors_ms([2, 5], [3, 1]), np.array([1, -4]) * 256 / 22.05)
