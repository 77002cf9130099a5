"""`+preset=paper` on `allison`, with a small network: features, batches, targets and masks."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import composed

from fastspeech2 import FastSpeech2, load_synthesiser
from fastspeech2.training.data import BatchStream, UtteranceBatches
from fastspeech2.training.mask_files import read_masks
from fastspeech2.training.train import grouping
from preprocessing.features.store import FeatureStore
from preprocessing.text.punctuation import END, MARKS

pytestmark = pytest.mark.slow

SMALL = [
    "+preset=paper",
    "splits=distinct",  # ESPnet's would leave fifty prompts for training
    *("model.hidden=32", "model.ffn.channels=48", "model.encoder_layers=1"),
    *(
        "model.decoder_layers=1",
        "model.postnet.channels=16",
        "model.duration_predictor.channels=16",
    ),
    *("model.pitch_predictor.channels=16", "model.energy_predictor.channels=16"),
    *("trainer.updates=200", "trainer.accumulate=2", "trainer.val_every=50", "samples=0"),
    *("trainer.espnet_bins=300000", "sparsity=decaying", "sparsity.scoring_batches=4"),
    *("trainer=gpu", "trainer.accelerator=cpu", "trainer.threads=1", "trainer.workers=0"),
    "trainer.schedule.warmup=50",
    "name=run",
]


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory) -> tuple:
    """The configuration, the features and the folder of a training of 200 updates."""
    folder = tmp_path_factory.mktemp("paper")
    overrides = [*prepared, *SMALL, f"paths.experiment={folder}", f"paths.features={folder}/espnet"]
    for script in ("stage3_features", "stage4_train"):
        result = subprocess.run(
            [sys.executable, f"scripts/{script}.py", *overrides], capture_output=True, text=True
        )
        assert result.returncode == 0, result.stdout + result.stderr
    config = composed(*overrides)
    return config, FeatureStore(config.paths.features), Path(config.paths.run) / "train"


def test_silences_punctuation_and_the_end_of_sentence_are_symbols(trained):
    _, store, _ = trained
    assert store.symbols[-1] == END and {"sil", ",", "."} <= set(store.symbols)
    assert "sp" not in store.symbols
    whole = [i for i, id in enumerate(store.ids) if id == store.utterances[i]]
    edges = 0
    for i in whole:
        segment = store.segment(i)
        phones = [store.symbols[phone] for phone in segment.phones]
        assert phones[-1] == END and segment.durations[-1] == 0 and END not in phones[:-1]
        edges += phones[0] in MARKS | {"sil"} and phones[-2] in MARKS | {"sil"}
        assert segment.start_sample == 0 and segment.durations.sum() == len(segment.mel)
        spoken = segment.durations > 0
        assert not segment.pitch[~spoken].any() and not segment.energy[~spoken].any()
    assert edges > 0.8 * len(whole)


def test_the_end_of_sentence_enters_the_statistics(trained):
    _, store, _ = trained
    values = np.concatenate([store.segment(i).pitch for i in store.split("train")])
    assert abs(store.statistics["pitch"]["std"] - values.std()) < 1e-4
    assert store.statistics["pitch"]["std"] > 2 * values[values > 0].std()


def test_batches_are_espnets_and_targets_are_normalised(trained):
    config, store, _ = trained
    split = UtteranceBatches(store, "train", normalised_mel=True)
    group = grouping(config.trainer, split, len(store.symbols))
    batches = group()
    assert sorted(i for batch in batches for i in batch) == list(range(len(split)))
    vocabulary = len(store.symbols) + 1
    cost = split.frames * 256 + (split.phone_counts.astype(int) - 1) * vocabulary
    for batch in batches[:-1]:
        assert len(batch) * cost[batch[0]] > 300_000  # the longest text comes first
        assert (len(batch) - 1) * cost[batch[1:2]] <= 300_000
    stream = list(BatchStream(split.frames, 0, 0, 0, len(batches), grouping=group))
    assert sorted(stream) == sorted(batches) and stream != batches
    mels = torch.cat([row[:frames] for batch in batches for row, frames in zip(
        split[batch].mel, split.frames[batch], strict=True)])  # fmt: skip
    assert mels.mean(0).abs().max() < 1e-3 and (mels.std(0) - 1).abs().max() < 1e-3
    one = split[[0]]
    assert one.phones[0, -1] == len(store.symbols) - 1 and one.durations[0, -1] == 0
    natural = store.segment(split.utterances[0]).mel
    mean, std = (np.array(store.statistics["mel"][key]) for key in ("mean", "std"))
    np.testing.assert_allclose(one.mel[0] * std + mean, natural, atol=1e-4)


def test_the_training_follows_the_preset(trained):
    config, store, train = trained
    record = json.loads((train / "record.json").read_text())
    assert record["precision"] == "32-true"
    with open(train / "metrics.csv", newline="") as file:
        losses = {int(r["update"]): float(r["validation_total"]) for r in csv.DictReader(file)}
    after = {update: loss for update, loss in losses.items() if update > 80}
    chosen = record["selection"]["chosen"][0]
    assert record["selection"]["criterion"] == "validation_total"
    assert chosen["update"] == min(after, key=after.get) and len(after) == 3
    model = FastSpeech2(config.model, len(store.symbols))
    eps = {norm.eps for norm in model.modules() if isinstance(norm, torch.nn.LayerNorm)}
    assert eps == {1e-12} and model.shortest == 0 and model.normalised_mel


def test_masks_leave_after_the_last_switch(trained):
    _, _, train = trained
    switches = json.loads((train / "sparsity.json").read_text())
    assert [(each["update"], each["nominal"]) for each in switches] == [
        (0, 0.4), (20, 0.2), (40, 0.1), (80, 0.0)
    ]  # fmt: skip
    masks = read_masks(sorted((train / "masks").iterdir())[0])
    kept = sum(int(mask.sum()) for mask in masks.values())
    total = sum(mask.size for mask in masks.values())
    assert abs(1 - kept / total - 0.4) < 0.01


def test_the_model_speaks_in_hifigans_domain(trained):
    config, store, train = trained
    synthesiser = load_synthesiser(train / "model.pt")
    segment = store.segment(store.split("test")[0])
    mel = synthesiser.synthesise([segment.phones])[0].mel
    assert mel.min() >= np.log(1e-5) - 1e-3 and -9 < mel.mean() < -2
