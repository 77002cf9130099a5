"""The recogniser and the naturalness predictor on real speech."""

import librosa
import numpy as np
import pytest
import torch
from conftest import composed
from distillmos import ConvTransformerSQAModel

from evaluation.metrics.error_rates import ErrorRates
from evaluation.metrics.naturalness import NaturalnessPredictor
from evaluation.metrics.recognition import Recogniser, packaged_model
from pipeline.errors import RecipeError
from preprocessing.features.store import FeatureStore, natural_waveform


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
    error_rates, rows, scores, noisy_scores = ErrorRates(), [], [], []
    for i in store.split("test")[:5]:
        segment = store.segment(int(i))
        waveform = librosa.resample(natural_waveform(segment), orig_sr=22_050, target_sr=16_000)
        rows.append(error_rates.errors(segment.text, recogniser.transcribe(waveform)))
        scores.append(predictor.score(waveform))
        with torch.inference_mode():
            expected = float(original(torch.from_numpy(waveform)[None]))
        assert scores[-1] == pytest.approx(expected, abs=1e-4)
        noise = np.random.default_rng(0).standard_normal(len(waveform)).astype("f4")
        noisy_scores.append(predictor.score(waveform + 0.5 * waveform.std() * noise))
    assert sum(r["word_errors"] for r in rows) <= 0.2 * sum(r["words"] for r in rows)
    assert np.mean(scores) > 3.5 and np.mean(noisy_scores) < np.mean(scores) - 0.5
