"""Which checkpoint a training resumes from."""

import os
import signal

import pytest
import torch
from conftest import Hostile
from lightning.pytorch.demos.boring_classes import BoringModel

from pipeline.errors import RecipeError
from pipeline.lightning_setup import fit, latest_checkpoint, make_trainer


def test_the_newest_checkpoint_that_can_be_read_is_taken(tmp_path):
    assert latest_checkpoint(tmp_path) == (None, 0)
    for update in (100, 200, 300):
        torch.save({"state_dict": {"weight": torch.ones(2)}}, tmp_path / f"{update:08d}.ckpt")
    (tmp_path / "last.ckpt").write_text("not a checkpoint of ours")
    assert latest_checkpoint(tmp_path) == (tmp_path / "00000300.ckpt", 300)
    whole = (tmp_path / "00000300.ckpt").read_bytes()
    (tmp_path / "00000300.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="00000300.ckpt cannot be read .*: trying the one before"):
        assert latest_checkpoint(tmp_path) == (tmp_path / "00000200.ckpt", 200)


def test_a_hostile_checkpoint_executes_nothing(tmp_path):
    hostile = tmp_path / "00000001.ckpt"
    torch.save({"state_dict": {}, "callbacks": Hostile(tmp_path / "executed")}, hostile)
    with pytest.warns(UserWarning, match="00000001.ckpt cannot be read"):
        assert latest_checkpoint(tmp_path) == (None, 0)
    assert not (tmp_path / "executed").exists()
    # It would execute if it were read as any pickle.
    torch.load(hostile, weights_only=False)
    assert (tmp_path / "executed").exists()


class EndedModel(BoringModel):
    """A module whose process gets SIGTERM, as a system that shuts down sends it."""

    def on_train_batch_end(self, outputs, batch, batch_idx):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_training_that_is_asked_to_end_has_failed(tmp_path):
    """Lightning exits with status 0 then, and a sweep would take the run for finished."""
    trainer = make_trainer(tmp_path, [], accelerator="cpu", max_steps=5, logger=False)
    batches = torch.utils.data.DataLoader(torch.ones(8, 32), batch_size=2)
    with pytest.raises(RecipeError, match="ended by SIGTERM; the same command continues it"):
        fit(trainer, EndedModel(), batches, batches, None)
    assert trainer.global_step < 5
