"""Error counts by hand, and the recogniser and the naturalness predictor on real speech."""

import librosa
import numpy as np
import pytest
import torch
from conftest import composed
from distillmos import ConvTransformerSQAModel

from evaluation.metrics.naturalness import NaturalnessPredictor
from evaluation.metrics.recognition import ErrorRates, Recogniser, packaged_model
from pipeline.errors import RecipeError
from preprocessing.features.store import FeatureStore, natural_waveform

RATES = ErrorRates()


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors", "words"),
    [
        ("Press one, now!", "press 1 now", 0, 3),
        ("the cat sat", "the bat sat", 1, 3),
        ("the cat sat", "the cat", 1, 3),
        ("the cat", "oh the big fat cat sat down", 2, 2),  # five insertions, capped
        ("The time is exactly...", "The time is exactly.", 0, 4),
        ("press three to rerecord it", "Press 3 to re-record it.", 0, 5),  # hyphens cannot be heard
        ("The pre-pending is done", "the prepending is done", 0, 4),
        ("press three to record it", "Press 3 to re-record it.", 1, 5),
        ("a well-known voice", "a well known voice", 0, 4),
        ("It costs five dollars.", "It costs $5", 0, 4),
        ("It costs five dollars.", "It costs five.", 1, 4),
        ("Ten percent of it", "Ten of it", 1, 4),
        ("Twenty pounds were paid", "Twenty were paid", 1, 4),
        ("minus five degrees", "five degrees", 1, 3),
        ("plus one", "one", 1, 2),
        ("Hmm.", "Oh no", 0, 0),
    ],
)
def test_word_errors(reference, hypothesis, errors, words):
    found = RATES.errors(reference, hypothesis)
    assert (found["word_errors"], found["words"]) == (errors, words)


def test_character_errors_and_empty_transcripts():
    assert RATES.errors("cat", "cut")["character_errors"] == 1
    nothing = RATES.errors("the cat", "")
    assert (nothing["word_errors"], nothing["character_errors"]) == (2, 7)


def test_a_missing_recogniser_is_reported():
    with pytest.raises(RecipeError, match="no recogniser in the package nothing-of-the-kind"):
        packaged_model("nothing-of-the-kind")


def test_a_recogniser_that_this_machine_cannot_run_is_reported():
    config = composed("evaluation.recogniser.compute_type=float16").evaluation
    with pytest.raises(RecipeError, match="tiny.en cannot be loaded on cpu: .*float16"):
        Recogniser(config, threads=1, device="cpu")


def test_real_speech_is_recognised_and_sounds_natural(prepared):
    folder = prepared[0].removeprefix("paths.data=") + "/features/hifigan_22k"
    store = FeatureStore(folder)
    config = composed("name=test").evaluation
    recogniser, predictor = Recogniser(config, threads=2, device="cpu"), NaturalnessPredictor()
    original = ConvTransformerSQAModel().eval()
    rows, scores, noisy_scores = [], [], []
    for i in store.split("test")[:5]:
        segment = store.segment(int(i))
        waveform = librosa.resample(natural_waveform(segment), orig_sr=22_050, target_sr=16_000)
        rows.append(RATES.errors(segment.text, recogniser.transcribe(waveform)))
        scores.append(predictor.score(waveform))
        with torch.inference_mode():
            expected = float(original(torch.from_numpy(waveform)[None]))
        assert scores[-1] == pytest.approx(expected, abs=1e-4)
        noise = np.random.default_rng(0).standard_normal(len(waveform)).astype("f4")
        noisy_scores.append(predictor.score(waveform + 0.5 * waveform.std() * noise))
    assert sum(r["word_errors"] for r in rows) <= 0.2 * sum(r["words"] for r in rows)
    assert np.mean(scores) > 3.5 and np.mean(noisy_scores) < np.mean(scores) - 0.5
