"""Distances in cases whose answers are known without our code."""

import math

import numpy as np
import pysptk
import pytest

from evaluation.distances import (
    MCEP_ALPHA,
    distance,
    duration_errors_ms,
    log_f0,
    mcd,
    mel_cepstra,
)


def tone(frequency: float, seconds: float = 1.0) -> np.ndarray:
    """A buzz of ten harmonics, which WORLD takes for a voice."""
    time = np.arange(round(22_050 * seconds)) / 22_050
    harmonics = [np.sin(2 * np.pi * frequency * n * time) / n for n in range(1, 11)]
    return (0.2 * np.sum(harmonics, axis=0)).astype(np.float32)


def noise(seconds: float = 1.0) -> np.ndarray:
    return (0.05 * np.random.default_rng(0).standard_normal(round(22_050 * seconds))).astype("f4")


def test_mcd_is_its_closed_form():
    reference = np.zeros((7, 35))
    assert mcd(reference, reference + 0.1) == pytest.approx(
        10 / math.log(10) * math.sqrt(2 * 35 * 0.01)
    )


def test_louder_by_a_factor_moves_c0_alone():
    waveform = noise()
    difference = mel_cepstra(2 * waveform) - mel_cepstra(waveform)
    # The log amplitude log(2) is c0's; the warped cepstrum's other terms keep their values.
    np.testing.assert_allclose(difference[:, 0].mean(), math.log(2), atol=0.02)
    np.testing.assert_allclose(difference[:, 1:].mean(0), 0, atol=0.02)


def test_mel_cepstra_describe_the_spectrum():
    cepstra = mel_cepstra(noise())
    envelope = pysptk.mgc2sp(cepstra, MCEP_ALPHA, 0.0, 1024).real
    # White noise: on average its log spectrum is flat, from 500 Hz to 10 kHz within 1 dB.
    decibels = 20 / math.log(10) * envelope.mean(0)[24:465]
    assert np.ptp(decibels) < 2.0


def test_a_recording_is_at_no_distance_from_itself_and_time_warping_is_forgiven():
    waveform = np.concatenate([tone(150), noise(), tone(220)])
    same = distance(waveform, waveform)
    assert same.mcd == 0 and same.f0_squared_error == 0 and same.voicing_errors == 0
    slower = np.concatenate([tone(150, 1.5), noise(), tone(220, 1.3)])
    assert distance(waveform, slower).mcd < 0.3 * distance(waveform, noise(3.0)).mcd


def test_f0_is_found_and_its_error_is_the_interval():
    found = log_f0(tone(200))[20:60]
    np.testing.assert_allclose(np.exp(found), 200, rtol=0.01)
    apart = distance(tone(200), tone(210))
    rmse = math.sqrt(apart.f0_squared_error / apart.f0_frames)
    assert rmse == pytest.approx(math.log(210 / 200), rel=0.1)


def test_voicing_errors_are_counted():
    apart = distance(tone(150), noise())
    assert apart.voicing_errors / apart.frames > 0.8


def test_duration_errors_are_milliseconds():
    np.testing.assert_allclose(duration_errors_ms([2, 5], [3, 1]), np.array([1, -4]) * 256 / 22.05)
