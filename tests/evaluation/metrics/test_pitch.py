"""ESPnet's evaluate_f0.py, written out with pysptk, against ours; and closed forms."""

import numpy as np
import pysptk
import pytest
import pyworld
from conftest import composed
from fastdtw import fastdtw
from scipy.spatial.distance import euclidean

from evaluation.metrics.pitch import pitch_distance
from preprocessing.features.store import FeatureStore, natural_waveform


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    """A harmonic tone with a little noise."""
    time = np.arange(int(22050 * seconds)) / 22050
    noise = np.random.default_rng(0).standard_normal(len(time)) * 1e-3
    return sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 20)) * 0.1 + noise


def reference_rmse(reference: np.ndarray, other: np.ndarray) -> float:
    def features(waveform):
        x = np.round(waveform * 32768).astype(np.int16).astype(np.float64)
        f0, times = pyworld.harvest(
            x, 22050, f0_floor=40, f0_ceil=800, frame_period=256 / 22050 * 1000
        )
        power = pyworld.cheaptrick(x, f0, times, 22050, fft_size=1024)
        return np.array([pysptk.sp2mc(row, 34, 0.45) for row in power]), f0

    (mcep, f0), (other_mcep, other_f0) = features(reference), features(other)
    path = np.array(fastdtw(other_mcep, mcep, dist=euclidean)[1])
    found, wanted = other_f0[path[:, 0]], f0[path[:, 1]]
    both = (found > 0) & (wanted > 0)
    return float(np.sqrt(np.mean((np.log(found[both]) - np.log(wanted[both])) ** 2)))


@pytest.mark.slow
def test_log_f0_rmse_is_espnets_on_recordings(prepared):
    """Ten pairs of recordings of different sentences, cut to three seconds."""
    store = FeatureStore(composed(*prepared).paths.features)
    chosen = [natural_waveform(store.segment(i))[: 3 * 22050] for i in store.split("test")[:11]]
    for reference, other in zip(chosen[:-1], chosen[1:], strict=True):
        found = pitch_distance(reference, other).espnet_log_f0_rmse
        assert found == pytest.approx(reference_rmse(reference, other), abs=1e-3)


def test_known_errors_of_tones():
    same = pitch_distance(tone(150), tone(150))
    assert same.espnet_log_f0_rmse < 1e-6 and same.gross_pitch_errors == same.f0_frame_errors == 0
    higher = pitch_distance(tone(150), tone(165))
    assert higher.espnet_log_f0_rmse == pytest.approx(np.log(1.1), abs=5e-3)
    assert higher.gross_pitch_errors < 0.05 * higher.pitch_frames
    octave = pitch_distance(tone(150), tone(300))
    assert octave.gross_pitch_errors > 0.95 * octave.pitch_frames
    half = np.concatenate([tone(150, 0.5), np.zeros(11025)])
    unvoiced = pitch_distance(tone(150), half)
    assert 0 < unvoiced.f0_frame_errors / unvoiced.path_frames < 1


def test_silence_has_no_f0():
    found = pitch_distance(np.zeros(22050) + 1e-4, tone(150))
    assert np.isnan(found.espnet_log_f0_rmse) and found.pitch_frames <= 1
