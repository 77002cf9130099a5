"""What a training writes while it is running."""

from types import SimpleNamespace

import lightning
import pytest
import torch

from fastspeech2.training.mask_files import read_masks
from fastspeech2.training.monitoring import MaskFiles, TrainingProgress
from pipeline.files import read_json
from sniper import Sniper, SparsitySchedule, magnitude_scores


class Line(lightning.LightningModule):
    """A module with one weight, whose loss is the value of the batch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_idx):
        loss = self.weight * 0 + batch
        return {"loss": loss, "parts": {"total": loss.detach()}}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(callbacks, losses=(1.0, 2.0), accumulate=1) -> None:
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=len(losses) // accumulate,
        accumulate_grad_batches=accumulate,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batches = [torch.tensor(each) for each in losses]
    trainer.fit(Line(), torch.utils.data.DataLoader(batches, batch_size=None))


def test_an_error_before_training_is_told_as_it_is(tmp_path):
    class Fails(lightning.Callback):
        def on_train_start(self, trainer, module):
            raise ValueError("scores are NaN")

    with pytest.raises(ValueError, match="scores are NaN"):
        fit([Fails(), TrainingProgress(tmp_path / "progress.json", "run", every=1)])


def test_progress_tells_each_update_once_and_its_whole_loss(tmp_path, capsys):
    path = tmp_path / "progress.json"
    # The loss of an update is that of its last batch.
    fit([TrainingProgress(path, "run", every=1)], [float(i) for i in range(1, 41)], accumulate=2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("run:")]
    told = [line.partition(", loss ")[0:3:2] for line in lines]
    assert [(start, rest.split(",")[0]) for start, rest in told] == [
        ("run: update 10/20", "20.000"),
        ("run: update 20/20", "40.000"),
    ]
    assert read_json(path)["update"] == 20 and read_json(path)["loss"] == 40.0


def test_the_first_process_alone_writes_masks(tmp_path):
    model = torch.nn.Linear(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sniper = Sniper(model, optimizer, magnitude_scores(model), SparsitySchedule.constant(0.5))
    for first in (False, True):
        files = MaskFiles(tmp_path / str(first), SimpleNamespace(sniper=sniper))
        files.on_train_start(SimpleNamespace(is_global_zero=first), model)
    assert [path.name for path in tmp_path.iterdir()] == ["True"]
    assert read_masks(tmp_path / "True" / "00000000.npz")["weight"].mean() == 0.5
