"""The feature store against the recordings that it was made from."""

import json

import numpy as np
import pytest
import torch

from audio.mel import log_mel
from preprocessing.features.extract import phone_means
from preprocessing.features.store import FeatureStore, natural_waveform


@pytest.fixture(scope="module")
def store(prepared) -> FeatureStore:
    data = next(o.removeprefix("paths.data=") for o in prepared if o.startswith("paths.data="))
    return FeatureStore(f"{data}/features/hifigan_22k")


def test_phone_means_and_phones_of_no_frames():
    means = phone_means(np.arange(6.0), np.array([2, 0, 3, 1, 0]))
    np.testing.assert_allclose(means, [0.5, 2.0, 3.0, 5.0, 5.0])


def test_the_store_holds_the_whole_corpus(store):
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


def test_segments_match_their_recordings(store):
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


def test_statistics_are_those_of_the_training_split(store):
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
            # The recipe is more careful about punctuation than this test, hence the margin.
            assert max(SequenceMatcher(None, words, other).ratio() for other in others) < 0.8


def test_the_index_names_no_path_outside_the_data_folder(store):
    index = json.loads((store.folder / "index.json").read_text())
    assert index["wavs"] == str(store.folder.parents[1] / "corpus" / "wavs")
