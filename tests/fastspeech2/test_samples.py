"""When samples are written to TensorBoard, and what they hold."""

from types import SimpleNamespace

import pytest
import torch
from conftest import section
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.settings import ModelSettings
from fastspeech2.training.samples import Samples

SYMBOLS = ["<pad>", "AH0", "HH"]


def test_two_sentences_are_written_at_equal_distances_and_once(tmp_path):
    store = SimpleNamespace(
        mel_kind="hifigan",
        symbols=SYMBOLS,
        statistics={"pitch": {"mean": 5.3, "std": 0.2}, "energy": {"mean": 20.0, "std": 8.0}},
        split=lambda name: [4, 7, 9],
        segment=lambda i: SimpleNamespace(id=f"utterance-{i}", phones=[2, 1, 2]),
    )
    board = TensorBoardLogger(tmp_path, name="", version="")
    trainer = SimpleNamespace(
        global_step=0,
        max_steps=100,
        is_global_zero=True,
        loggers=[board],
    )
    table = SimpleNamespace(seconds=10.0)
    model = FastSpeech2(section(ModelSettings, "model/tiny.yaml"), len(SYMBOLS)).train()
    module = SimpleNamespace(model=model)
    samples = Samples(store, lambda mels: [torch.zeros(256 * len(mels[0]))], 2, table, tmp_path)
    for update in (10, 40, 60, 60, 90, 100):
        trainer.global_step = update
        samples.on_validation_end(trainer, module)
        if update == 40:  # a resumed training continues to count
            state, samples = samples.state_dict(), Samples(*_arguments(samples))
            samples.load_state_dict(state)
    board.experiment.close()

    written = EventAccumulator(str(tmp_path)).Reload()
    names = ["utterance-4", "utterance-7"]
    assert sorted(written.Tags()["images"]) == [f"mel/{name}" for name in names]
    assert sorted(written.Tags()["audio"]) == [f"audio/{name}" for name in names]
    assert [event.step for event in written.Audio("audio/utterance-4")] == [60, 100]
    image = written.Images("mel/utterance-4")[0]
    assert image.height == 80
    assert model.training
    assert table.seconds == pytest.approx(10.0, abs=9.0) and table.seconds < 10.0


def _arguments(samples: Samples) -> tuple:
    return samples.store, samples.vocoder, samples.times, samples.table, samples.folder
