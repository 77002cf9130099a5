"""Features and batches of ESPnet's recipe against those that ESPnet itself computed."""

import numpy as np
from conftest import section
from espnet_cases import BINS, DURATIONS, SYMBOLS, corpus_sizes, waveform
from test_espnet import INDEX, REFERENCE

from audio.constants import FRAME_RATE
from fastspeech2.training.batching import espnet_batches
from preprocessing.alignment.textgrid import Alignment, Interval
from preprocessing.features.extract import extract
from preprocessing.settings import FeatureSettings

SETTINGS = section(FeatureSettings, "features/espnet_22k.yaml", max_seconds=None)


def test_batches_are_those_of_espnet():
    phones, samples = corpus_sizes()
    found = espnet_batches(phones, samples, len(SYMBOLS), BINS)
    assert [sorted(batch) for batch in found] == [sorted(batch) for batch in INDEX["batches"]]
    assert len(found) == 5


def test_features_are_those_of_espnet():
    """But for the last frame, which ESPnet's centred window adds. Phones end between frames."""
    speech = waveform()
    speech = np.append(speech, np.zeros(256 * sum(DURATIONS) - len(speech), np.float32))
    ends = (np.cumsum(DURATIONS) + 0.1) / FRAME_RATE
    starts = np.append(0.0, ends[:-1])
    phones = [Interval(*row, "AH0") for row in zip(starts, ends, strict=True)]
    segment = extract(speech, Alignment(phones, []), SETTINGS)[0]
    assert segment.segment.durations[:-1] == DURATIONS
    expected = {name: REFERENCE[f"features/{name}"] for name in ("mel", "pitch", "energy")}
    inside = slice(0, sum(DURATIONS) - 4)  # the end of the waveform is padded differently
    np.testing.assert_allclose(segment.mel.T[:, inside], expected["mel"][:, inside], atol=2e-4)
    np.testing.assert_allclose(segment.pitch[:6], expected["pitch"][:6], atol=1e-3)
    np.testing.assert_allclose(segment.energy[:6], expected["energy"][:6], rtol=1e-4)
    assert segment.pitch[-1] == segment.energy[-1] == segment.pitch[2] == expected["pitch"][2] == 0
