"""Mel against librosa, F0 against known tones, and the store against what it was made from."""

import json

import librosa
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from audio.f0 import F0Settings, continuous_log_f0, estimate_f0
from audio.mel import log_mel
from pipeline.errors import RecipeError
from preprocessing.features.extract import phone_means
from preprocessing.features.store import FeatureStore, natural_waveform

DIO = F0Settings("dio", 71, 800, 4)


@pytest.fixture(scope="module")
def store(prepared) -> FeatureStore:
    data = next(o.removeprefix("paths.data=") for o in prepared if o.startswith("paths.data="))
    return FeatureStore(f"{data}/features/hifigan_22k")


def test_log_mel_is_hifigans(store):
    """The definition in HiFi-GAN's meldataset.py, by librosa alone."""
    waveform = natural_waveform(store.segment(0))
    padded = np.pad(waveform, 384, mode="reflect")
    spectrum = librosa.stft(padded, n_fft=1024, hop_length=256, win_length=1024, center=False)
    filters = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmin=0, fmax=8000)
    expected = np.log(np.maximum(filters @ np.sqrt(np.abs(spectrum) ** 2 + 1e-9), 1e-5))
    mel = log_mel(torch.from_numpy(waveform))
    assert mel.shape == (80, len(waveform) // 256)
    np.testing.assert_allclose(mel, expected, atol=2e-4)


@pytest.mark.parametrize("samples", [385, 1000, 1024, 5119, 5120, 5121])
def test_a_frame_for_every_256_samples(samples):
    assert log_mel(torch.randn(samples)).shape == (80, samples // 256)


@pytest.mark.parametrize("method", ["dio", "harvest"])
def test_f0_of_a_glide_is_that_at_the_frames_centres(method):
    """120 to 240 Hz in two seconds: half a hop of delay would be 0.7 Hz."""
    seconds = np.arange(2 * 22050) / 22050
    phase = 2 * np.pi * (120 * seconds + 30 * seconds**2)
    waveform = sum(np.sin(k * phase) / k for k in range(1, 15)).astype(np.float32) * 0.2
    f0 = estimate_f0(waveform, F0Settings(method, 71, 800, 4))
    centres = (np.arange(len(f0)) * 256 + 128) / 22050
    inside = slice(20, 150)
    assert np.all(f0[inside] > 0)
    error = f0[inside] - (120 + 60 * centres[inside])
    assert abs(np.median(error)) < 0.15 and np.abs(error).max() < 1


def test_f0_of_noise_is_unvoiced():
    noise = np.random.default_rng(0).normal(0, 0.05, 22050).astype(np.float32)
    assert np.mean(estimate_f0(noise, DIO) > 0) < 0.2


def test_a_method_of_f0_that_is_none_is_told():
    with pytest.raises(RecipeError, match="f0.method=haverst: choose one of dio, harvest"):
        F0Settings("haverst", 71, 800, 4)
    evaluations = OmegaConf.create({"method": "dios", "floor": 71, "ceiling": 800, "decimation": 1})
    with pytest.raises(RecipeError, match="f0.method=dios"):
        estimate_f0(np.zeros(22050, np.float32), evaluations)


def test_continuous_f0_and_phone_means():
    f0 = np.array([0, 100, 0, 0, 800, 0], dtype=np.float32)
    np.testing.assert_allclose(
        np.exp(continuous_log_f0(f0)), [100, 100, 200, 400, 800, 800], rtol=1e-5
    )
    means = phone_means(np.arange(6.0), np.array([2, 0, 3, 1, 0]))
    np.testing.assert_allclose(means, [0.5, 2.0, 3.0, 5.0, 5.0])


def test_store_is_whole_and_is_the_corpuss(store):
    assert store.symbols[0] == "<pad>" and "sp" in store.symbols
    assert len(set(store.ids)) == len(store) > 550
    assert [len(store.split(name)) for name in ("validation", "test")] == [24, 30]
    everything = np.concatenate([store.split(name) for name in ("train", "validation", "test")])
    assert sorted(everything) == list(range(len(store)))
    assert len(store.mel) == store.frames.sum() == len(store.f0)
    sums = np.add.reduceat(store.durations[:].astype(int), store.phone_offsets)
    np.testing.assert_array_equal(sums, store.frames)
    assert store.frames.max() * 256 <= 8 * 22050
    sp = store.symbols.index("sp")
    ends = np.concatenate([store.phone_offsets, store.phone_offsets + store.phone_counts - 1])
    assert sp not in store.phones[ends] and store.phones[:].min() > 0


def test_segments_are_those_of_their_recordings(store):
    cut = [i for i in range(len(store)) if store.utterances[i] != store.ids[i]]
    assert cut, "no prompt was long enough to be cut"
    for i in [*store.split("test")[:5], *cut[:5]]:
        segment = store.segment(i)
        waveform = natural_waveform(segment)
        assert len(waveform) == segment.samples == 256 * len(segment.mel)
        np.testing.assert_allclose(log_mel(torch.from_numpy(waveform)).T, segment.mel, atol=1e-5)
        ends = np.cumsum(segment.durations)
        for k in range(len(ends)):
            if segment.durations[k]:
                frames = slice(ends[k] - segment.durations[k], ends[k])
                assert segment.energy[k] == pytest.approx(segment.energy_frames[frames].mean())
                if (voiced := segment.f0[frames]).all():
                    assert segment.pitch[k] == pytest.approx(np.log(voiced).mean(), abs=1e-4)


def test_statistics_are_the_training_splits(store):
    segments = [store.segment(i) for i in store.split("train")]
    for name in ("pitch", "energy", "mel"):
        values = np.concatenate([getattr(s, name) for s in segments]).astype(np.float64)
        np.testing.assert_allclose(store.statistics[name]["mean"], values.mean(0), rtol=1e-6)
        np.testing.assert_allclose(store.statistics[name]["std"], values.std(0), rtol=1e-6)
    assert np.exp(store.statistics["pitch"]["mean"]) == pytest.approx(195, abs=15)


def test_held_out_prompts_have_no_near_copy(store):
    from difflib import SequenceMatcher

    text = dict(zip(store.utterances, store.texts, strict=True))
    whole = {
        u: text[u].lower().replace(".", "").replace(",", "").split() for u in text if u in store.ids
    }
    for name in ("test", "validation"):
        for i in store.split(name):
            words = whole[store.utterances[i]]
            others = (whole[other] for other in whole if other != store.utterances[i])
            # Punctuation is cut off more bluntly here than in the recipe, hence the margin.
            assert max(SequenceMatcher(None, words, other).ratio() for other in others) < 0.8


def test_index_names_no_place_outside_the_data_folder(store):
    index = json.loads((store.folder / "index.json").read_text())
    assert index["wavs"] == str(store.folder.parents[1] / "corpus" / "wavs")
