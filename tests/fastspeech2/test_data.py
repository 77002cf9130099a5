"""Batches hold little padding, lose no utterance, and are the same after an interruption."""

import numpy as np
import torch
from conftest import composed, section

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.settings import ModelSettings
from fastspeech2.training.data import (
    BatchStream,
    UtteranceBatches,
    batch_loader,
    frame_budget_batches,
)
from fastspeech2.training.processes import Processes
from preprocessing.features.store import FeatureStore


def ljspeech_like_frames(count: int = 12_600) -> np.ndarray:
    """Lengths in frames, distributed like LJSpeech's: 1.1 to 10.1 s with a mean of about 6.6 s."""
    seconds = np.clip(np.random.default_rng(0).normal(6.57, 2.19, count), 1.11, 10.1)
    return (seconds * 22_050 / 256).astype(int)


def test_batches_hold_every_utterance_once_within_the_budget():
    frames = ljspeech_like_frames(500)
    batches = frame_budget_batches(frames, 3000, np.random.default_rng(1))
    assert sorted(i for batch in batches for i in batch) == list(range(500))
    assert all(len(batch) * frames[batch].max() <= 3000 for batch in batches)


def test_little_padding():
    frames = ljspeech_like_frames()
    batches = frame_budget_batches(frames, 9000, np.random.default_rng(1))
    padded = sum(len(batch) * frames[batch].max() for batch in batches)
    assert 1 - frames.sum() / padded <= 0.08


def test_an_utterance_over_the_budget_is_a_batch_of_its_own():
    assert frame_budget_batches(np.array([10, 999, 20]), 100) == [[0, 2], [1]]


def test_stream_goes_on_where_it_stopped_and_passes_differ():
    frames = ljspeech_like_frames(60)
    whole = list(BatchStream(frames, 2000, seed=3, start=0, stop=100))
    assert whole[40:] == list(BatchStream(frames, 2000, seed=3, start=40, stop=100))
    one_pass = len(frame_budget_batches(frames, 2000, np.random.default_rng([3, 0])))
    assert whole[:10] != whole[one_pass : one_pass + 10]
    assert whole != list(BatchStream(frames, 2000, seed=4, start=0, stop=100))


def test_processes_take_turns_with_one_stream():
    frames = ljspeech_like_frames(60)
    alone = list(BatchStream(frames, 2000, seed=3, start=0, stop=80))
    first, second = (
        list(BatchStream(frames, 2000, 3, start=10, stop=40, processes=Processes(rank, 2)))
        for rank in range(2)
    )
    assert [batch for pair in zip(first, second, strict=True) for batch in pair] == alone[20:]
    loads = [sum(frames[batch].sum() for batch in part) for part in (first, second)]
    assert max(loads) < 1.05 * min(loads)


def test_workers_make_the_same_batches_in_the_same_order(prepared):
    store = FeatureStore(composed(*prepared).paths.features)
    model = FastSpeech2(section(ModelSettings, "model/tiny.yaml"), len(store.symbols))
    batches = UtteranceBatches(store, "train", model.plan)
    stream = BatchStream(batches.frames, 1500, seed=0, start=3, stop=15)
    alone, ahead = (list(batch_loader(batches, stream, workers=n)) for n in (0, 2))
    assert [batch.ids for batch in alone] == [batch.ids for batch in ahead]
    assert all(torch.equal(a.mel, b.mel) for a, b in zip(alone, ahead, strict=True))
    assert torch.equal(alone[0].plan.frames.phone_row, ahead[0].plan.frames.phone_row)
