"""What a training logs arrives in the files of each logger of conf/logger/."""

import csv
import json
import struct
from pathlib import Path
from types import SimpleNamespace

import lightning
import numpy as np
import pytest
import soundfile
import torch
from conftest import composed
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from audio.constants import SAMPLE_RATE
from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.training.loggers import make_logger
from fastspeech2.training.metrics import LOSSES
from fastspeech2.training.monitoring import MetricsTable
from fastspeech2.training.samples import Samples
from pipeline.configuration import run_name
from pipeline.errors import RecipeError
from pipeline.lightning_setup import fit, make_trainer
from sniper.integrations.lightning import SniperCallback

SYMBOLS = ["<pad>", "AH0", "HH"]
UPDATES = 10
METRICS = {
    *("update", "seconds", "learning/rate", "gradient/norm", "train/total", "validation/mel"),
    *("sparsity/overall", "sparsity/layer.weight"),
}


class Module(lightning.LightningModule):
    """Trains one layer, and has a FastSpeech2 that samples are synthesised with."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.gradient_norm = torch.ones(())
        config = composed()
        self.__dict__["model"] = FastSpeech2(config.model, len(SYMBOLS)).train()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def training_step(self, batch, index):
        loss = self.layer(batch).square().mean()
        return {"loss": loss, "parts": dict.fromkeys(LOSSES, loss.detach())}

    def validation_step(self, batch, index):
        self.log_dict({f"validation_{name}": 1.5 for name in LOSSES})
        self.log("step", float(self.global_step))


def trained_with(choice: str, folder: Path):
    """Train with the logger of conf/logger/<choice>.yaml, and return the Trainer."""
    run = f"paths.run={folder}/run"
    logger = make_logger(composed(f"logger={choice}", run, "name=my run").logger)
    sniper = SniperCallback(0.5, score="magnitude", scoring_batches=0)
    table = MetricsTable(
        folder / "metrics.csv", lambda: 0.5, tensors=lambda: sniper.record[-1].tensors
    )
    store = SimpleNamespace(
        mel_kind="hifigan",
        symbols=SYMBOLS,
        statistics={"pitch": {"mean": 5.3, "std": 0.2}, "energy": {"mean": 20.0, "std": 8.0}},
        split=lambda name: [4, 7, 9],
        segment=lambda i: SimpleNamespace(id=f"utterance-{i}", phones=[2, 1, 2]),
    )
    tone = 0.5 * torch.sin(torch.arange(SAMPLE_RATE) * 0.1)
    samples = Samples(store, lambda mels: [tone], 1, table, folder / "samples")
    trainer = make_trainer(
        folder / "checkpoints",
        [sniper, table, samples],
        accelerator="cpu",
        max_steps=UPDATES,
        val_check_interval=5,
        logger=logger or False,
        log_every_n_steps=5,
    )
    data = DataLoader(torch.randn(20, 4), batch_size=2)
    fit(trainer, Module(), data, data, None)
    return trainer


def check_sample_files(folder: Path) -> None:
    for name in ("utterance-4", "utterance-7"):
        mel = np.asarray(Image.open(folder / "mel" / name / f"{UPDATES:08d}.png"))
        assert mel.shape[0] == 80 and mel.min() == 0 and mel.max() == 255
        wav, rate = soundfile.read(folder / "audio" / name / f"{UPDATES:08d}.wav")
        assert rate == SAMPLE_RATE and len(wav) == SAMPLE_RATE and abs(wav).max() > 0.49


def test_csv(tmp_path):
    trained_with("csv", tmp_path)
    (path,) = (tmp_path / "run" / "train" / "csv").glob("*/metrics.csv")
    rows = list(csv.DictReader(path.open(newline="")))
    assert set(rows[0]) >= METRICS
    last = [row for row in rows if row["update"]][-1]
    assert float(last["update"]) == UPDATES and float(last["sparsity/layer.weight"]) == 0.5
    assert float(last["validation/mel"]) == 1.5
    check_sample_files(tmp_path / "samples")


def test_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained_with("tensorboard", tmp_path)
    written = EventAccumulator(str(tmp_path / "run" / "train" / "tensorboard")).Reload()
    assert set(written.Tags()["scalars"]) >= METRICS
    assert [event.step for event in written.Scalars("sparsity/layer.weight")] == [5, UPDATES]
    assert written.Images("mel/utterance-4")[0].height == 80
    assert len(written.Audio("audio/utterance-7")) == 1


def test_none_writes_only_the_table(tmp_path):
    trainer = trained_with("none", tmp_path)
    assert trainer.loggers == [] and (tmp_path / "metrics.csv").exists()
    assert not (tmp_path / "run").exists() and not (tmp_path / "samples").exists()


def wandb_records(path: Path):
    """Read the log of an offline run, whose blocks are those of LevelDB's logs."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, record = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = 2**15 - place % 2**15
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(record)
            record = b""


@pytest.mark.slow
def test_wandb_offline(tmp_path):
    for number in range(2):  # two runs in one process are two runs
        trained_with("wandb", tmp_path / str(number))
    for number in range(2):
        (run,) = (tmp_path / str(number) / "run" / "train" / "wandb").glob("offline-run-*")
        (path,) = run.glob("*.wandb")
        logged, name = {}, ""
        for record in wandb_records(path):
            name = record.run.display_name or name
            for item in record.history.item:
                logged[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        assert name == "my run" and set(logged) >= METRICS
        assert logged["update"] == UPDATES and logged["sparsity/layer.weight"] == 0.5
        kinds = {path.suffix for path in (run / "files" / "media").rglob("*.*")}
        assert kinds == {".png", ".wav"} and "audio/utterance-7" in logged


@pytest.mark.slow
def test_mlflow_on_a_file_store(tmp_path):
    from mlflow.tracking import MlflowClient

    trained_with("mlflow", tmp_path)
    client = MlflowClient(f"file:{tmp_path}/run/train/mlruns")
    (experiment,) = [each for each in client.search_experiments() if each.name == "allison"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "my run" and set(run.data.metrics) >= METRICS
    history = client.get_metric_history(run.info.run_id, "sparsity/layer.weight")
    assert [(each.step, each.value) for each in history] == [(5, 0.5), (UPDATES, 0.5)]
    check_sample_files(Path(client.download_artifacts(run.info.run_id, "", str(tmp_path))))


def test_a_logger_takes_no_part_in_names_and_fingerprints():
    from pipeline.stages import TRAINING

    overrides = ["sparsity=constant", "logger=csv", "logger.name=other"]
    assert run_name(overrides) == run_name(["sparsity=constant"])
    assert TRAINING.fingerprint(composed("logger=wandb")) == TRAINING.fingerprint(composed())


def test_a_logger_that_cannot_be_made_is_told_by_name():
    wrong = composed("+logger.colour=red", "logger=csv", "name=mine").logger
    with pytest.raises(RecipeError, match="colour"):
        make_logger(wrong)
