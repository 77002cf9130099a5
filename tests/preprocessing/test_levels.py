"""Recordings that are too quiet, shifted or clipped stand out from the rest of their corpus."""

import warnings

import numpy as np
import pytest
import soxr

from preprocessing.levels import measure_levels, unusual_levels


def speech(seed: int, seconds: float = 2.0, level: float = 0.1) -> np.ndarray:
    """Noise with the distribution of amplitudes that speech has, in bursts with pauses between."""
    generator = np.random.default_rng(seed)
    samples = int(seconds * 22050)
    bursts = np.repeat(generator.gamma(2.0, 1.0, samples // 2205 + 1), 2205)[:samples]
    waveform = soxr.resample(generator.laplace(size=samples // 4 + 1), 1, 4)[:samples]
    waveform *= bursts[: len(waveform)]
    # No recording comes near full scale by itself.
    waveform = level * waveform / np.sqrt(np.mean(np.square(waveform)))
    return np.round(np.clip(waveform, -0.99, 0.99) * 32768).astype(np.float32) / 32768


def faults(*spoilt: np.ndarray, sound: int = 6) -> list[tuple[str, str]]:
    waveforms = {f"sound{seed}": speech(seed, 1 + seed / 3) for seed in range(sound)}
    waveforms |= {f"spoilt{i}": waveform for i, waveform in enumerate(spoilt)}
    levels = {id: measure_levels(waveform) for id, waveform in waveforms.items()}
    return [(id, fault.kind) for id, fault in unusual_levels(levels)]


def test_a_corpus_of_like_recordings_has_no_fault():
    assert faults() == faults(sound=0) == faults(sound=1) == []
    assert faults(speech(7, level=0.03), speech(8, level=0.12)) == []
    padded = np.pad(speech(7), (0, 60 * 22050))
    assert faults(padded) == [], "pauses do not make a recording quiet"


@pytest.mark.parametrize(
    "spoil, kind",
    [
        (lambda waveform: 0.01 * waveform, "wav_level"),
        (lambda waveform: 0 * waveform, "wav_level"),
        (lambda waveform: 0.01 * waveform + 0.3, "wav_level"),
        (lambda waveform: 0.5 * waveform - 0.1, "wav_offset"),
        (lambda waveform: waveform + 0.03, "wav_offset"),
        (lambda waveform: np.clip(10 * waveform, -1, 1), "wav_clipped"),
        (lambda waveform: np.clip(4 * waveform, -1, 1), "wav_clipped"),
        (lambda waveform: np.clip(waveform, -0.15, 0.15), "wav_clipped"),
        (lambda waveform: np.clip(waveform, -1, 0.1), "wav_clipped"),
        (lambda waveform: 0.5 * np.clip(5 * waveform, -1, 1), "wav_clipped"),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_each_spoilt_recording_is_found(spoil, kind, count):
    spoilt = [spoil(speech(20 + i)).astype(np.float32) for i in range(count)]
    assert faults(*spoilt) == [(f"spoilt{i}", kind) for i in range(count)]


def test_the_limits_follow_what_is_usual_in_the_corpus():
    """Tones are at their peak for much of the time, and a telephone may shift all recordings."""
    tone = 0.3 * np.sin(np.arange(22050) * 2 * np.pi * 200 / 22050) + 0.2
    assert unusual_levels({str(i): measure_levels(tone) for i in range(5)}) == []


@pytest.mark.parametrize("samples", [1, 2, 219, 221])
def test_recordings_of_a_few_samples_can_be_measured(samples):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(measure_levels(np.full(samples, 0.1, np.float32))).all()
