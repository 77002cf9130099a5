"""Losses and gradients that are not finite, in a real training loop."""

import lightning
import pytest
import torch
from conftest import composed, section

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.settings import ModelSettings
from fastspeech2.training.data import Batch
from fastspeech2.training.module import FastSpeech2Module
from fastspeech2.training.nonfinite import FiniteWatch, skipped_updates
from pipeline.errors import RecipeError


def batch_of(*ids: str) -> Batch:
    size = len(ids)
    return Batch(
        ids=list(ids),
        phones=torch.ones(size, 3, dtype=torch.long),
        phone_lengths=torch.full((size,), 3),
        durations=torch.full((size, 3), 2),
        pitch=torch.zeros(size, 3),
        energy=torch.zeros(size, 3),
        mel=torch.zeros(size, 6, 80),
    )


def train(folder, batches: list[Batch], action: str = "stop", accumulate: int = 1) -> dict:
    """Train on these batches and return the weights."""
    torch.manual_seed(0)
    model = FastSpeech2(section(ModelSettings, "model/tiny.yaml"), 4)
    settings = composed().trainer
    module = FastSpeech2Module(model, settings, 0, FiniteWatch(folder, action))
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    trainer.fit(module, loader)
    return {name: value.clone() for name, value in model.state_dict().items()}


def with_infinite_mel(batch: Batch) -> Batch:
    batch.mel[0, 0, 0] = torch.inf  # its L1 loss is infinite, and the gradient finite
    return batch


def test_an_infinite_loss_stops_with_names_and_a_saved_batch(tmp_path):
    batches = [batch_of("good"), with_infinite_mel(batch_of("bad-1", "bad-2")), batch_of("late")]
    with pytest.raises(RecipeError, match=r"the loss of update 2 .*: bad-1, bad-2\. .*skip"):
        train(tmp_path, batches)
    saved = torch.load(tmp_path / "nonfinite_00000002.pt", weights_only=True)
    assert [batch["ids"] for batch in saved] == [["bad-1", "bad-2"]]
    assert torch.equal(saved[0]["mel"], batches[1].mel)


def test_of_accumulated_batches_the_bad_one_is_named(tmp_path):
    batches = [batch_of("good"), with_infinite_mel(batch_of("bad"))]
    with pytest.raises(RecipeError, match=r"update 1 .*\.pt\): bad\. "):
        train(tmp_path, batches, accumulate=2)


def test_a_gradient_alone_stops_too(tmp_path):
    watch = FiniteWatch(tmp_path, "stop")
    watch.add(batch_of("one", "two"), torch.tensor(1.0))
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], fused=True)
    watch.guard(optimizer, torch.tensor(torch.nan), 7)
    with pytest.raises(RecipeError, match=r"the gradient of update 7 .*: one, two\."):
        watch.report()


def test_a_skipped_batch_leaves_weights_as_they_are(tmp_path):
    good = batch_of("good")
    with pytest.warns(UserWarning, match=r"update 2 .*: bad\. The update is skipped"):
        weights = train(tmp_path, [good, with_infinite_mel(batch_of("bad"))], "skip")
    for name, value in train(tmp_path, [good]).items():
        assert torch.equal(value, weights[name]), name
    assert skipped_updates(tmp_path) == 1


def test_an_update_that_several_processes_skip_counts_once(tmp_path):
    assert skipped_updates(tmp_path) == 0
    for name in ("00000002_process0", "00000002_process1", "00000030_process0"):
        (tmp_path / f"nonfinite_{name}.pt").touch()
    assert skipped_updates(tmp_path) == 2
