"""Which checkpoint a training resumes from."""

import pytest
import torch
from conftest import Hostile

from pipeline.lightning_setup import latest_checkpoint


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
