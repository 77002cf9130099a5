"""Stage 3 replaces held-out utterances without features, or reports them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import changed
from intake import table_corpus, write_grid

from evaluation.settings import Settings
from preprocessing.alignment.align import align
from preprocessing.corpus.build import build_corpus
from preprocessing.corpus.splits import assign_splits
from preprocessing.features.build import build_features
from preprocessing.features.store import FeatureStore

TEXTS = {f"u{i}": "Hello, my good friend." for i in range(8)}
RANDOM = {"name": "seed", "kind": "random", "test": 2, "validation": 2, "seed": 0}
LAST = {"name": "last", "kind": "last", "test": 2, "validation": 2}


@pytest.fixture
def prepared_tones(tmp_path) -> Settings:
    """The configuration of some tones that have passed stages 1 and 2."""
    config = table_corpus(tmp_path, TEXTS)
    for name in TEXTS:
        write_grid(tmp_path / "grids" / f"{name}.TextGrid", [("HH", 0, 0.7), ("AY1", 0.7, 1.5)])
    build_corpus(config)
    align(config)
    check = {"leave_out": ["features", "wav_level"], "seconds": [0.3, 20], "longest_pause": 2}
    parallel = {"workers": 1, "backend": "loky", "address": None}
    config = changed(config, check=check, parallel=parallel)
    config.paths.features = str(tmp_path / "features")
    return config


@pytest.mark.parametrize("splits", [RANDOM, LAST])
@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_utterances_without_features_are_replaced_or_reported(
    prepared_tones, capsys, splits, held_out
):
    config = prepared_tones
    config = changed(config, splits=splits)
    assigned = assign_splits(TEXTS, config.splits)
    silent = next(id for id in TEXTS if assigned[id] == held_out)
    wav = Path(config.paths.corpus) / "wavs" / f"{silent}.wav"
    soundfile.write(
        wav, np.full(int(1.5 * 22050), 0.3), 22050
    )  # A constant has no F0 and no level.
    build_features(config)
    store = FeatureStore(config.paths.features)
    sizes = {name: len(store.split(name)) for name in ("train", "validation", "test")}
    assert silent not in store.utterances and store.left_out == {"wav_level": 1}
    printed = capsys.readouterr().out
    if splits is RANDOM:
        assert sizes == {"train": 3, "validation": 2, "test": 2}
        assert "1 left out (dropped.csv says why)" in printed
    else:
        assert sizes == Counter({"train": 4, "validation": 2, "test": 2}) - Counter([held_out])
        assert f"1 left out (1 of {held_out}, dropped.csv says why)" in printed
