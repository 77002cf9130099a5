from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from lightning_cases import DENSE, SCHEDULE, Checks, Classifier, data, fit
from torch import nn
from torch.utils.data import DataLoader

from sniper import SparsitySchedule, magnitude_scores, random_scores, snip_scores
from sniper.integrations.lightning import SniperCallback


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_invariants_under_lightning(tmp_path, precision):
    callback, checks = SniperCallback(SCHEDULE, scoring_batches=2), Checks()
    options = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5, "precision": precision}
    loader = DataLoader(data(), 16, shuffle=True)
    fit(tmp_path, callback, others=[checks], loader=loader, **options)
    assert [switch.update for switch in callback.sniper.record] == [0, 3, 6, 9]
    assert {0.4, 0.2, 0.1, 0.0} == {round(value, 6) for value in checks.logged}


@pytest.mark.parametrize("workers", [0, 1])
def test_scoring_disturbs_neither_random_states_nor_the_order_of_training(tmp_path, workers):
    """Until the first switch, a run with scoring equals a run without."""

    def loader():
        return DataLoader(
            data(),
            8,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            generator=torch.Generator().manual_seed(5),
        )

    late = SparsitySchedule.steps({0: 0.0, 12: 0.4})
    initial = Classifier(0.3).state_dict()
    runs, steps = [], len(Classifier.steps)
    for schedule in (DENSE, late):
        module = Classifier(0.3)
        module.load_state_dict(initial)
        fit(tmp_path, SniperCallback(schedule, scoring_batches=11), module=module, loader=loader())
        runs.append(module)
    dense, scored = runs
    assert len(Classifier.steps) == steps + 2 * len(dense.seen) + 11
    assert scored.seen == dense.seen  # what the module records of scoring is undone
    assert scored.losses == dense.losses
    assert scored.drawn == dense.drawn


def test_scores_come_from_the_training_data_and_the_training_loss(tmp_path):
    callback = SniperCallback(SCHEDULE, scoring_batches=2, dropout=False)
    module = Classifier(0.3)
    loader = DataLoader(data(), 24, drop_last=True)
    pl.seed_everything(1, verbose=False)
    expected = snip_scores(
        module.net,
        lambda net, batch: nn.functional.cross_entropy(net(batch[0]), batch[1]),
        list(loader)[:2],
        dropout=False,
    )
    found = {}
    callback.score = lambda m, batches: found.setdefault(
        "scores",
        snip_scores(m, lambda m, b: m.training_step(b, 0)["loss"], batches, dropout=False),
    )
    fit(tmp_path, callback, updates=1, module=module, loader=loader)
    for name, score in expected.items():
        torch.testing.assert_close(found["scores"][f"net.{name}"], score)


@pytest.mark.parametrize("score", ["snip", "grasp"])
def test_any_number_of_processes_scores_the_same_batches_with_the_same_dropout(score):
    """Score five batches in one process, and in two processes that take turns."""

    def losses(rank, size, seed=7):
        module, found = Classifier(0.3), []
        module.load_state_dict(initial)
        samples = torch.arange(64).split(8)[rank::size]
        trainer = SimpleNamespace(
            global_rank=rank,
            world_size=size,
            optimizers=[torch.optim.SGD(module.parameters(), lr=0.1)],
            global_step=0,
            loggers=[],
            train_dataloader=DataLoader(data(), batch_sampler=[each.tolist() for each in samples]),
            strategy=SimpleNamespace(batch_to_device=lambda batch: batch),
            precision_plugin=SimpleNamespace(train_step_context=nullcontext),
        )

        def loss_fn(module, batch):
            found.append(module.training_step(batch, 0)["loss"])
            return found[-1]

        SniperCallback(
            SCHEDULE, score=score, scoring_batches=5, seed=seed, loss_fn=loss_fn
        ).on_train_start(trainer, module)
        return [loss.item() for loss in found]

    initial = Classifier().state_dict()
    alone, first, second = losses(0, 1), losses(0, 2), losses(1, 2)
    for passed in range(len(alone) // 5):  # GraSP makes two passes
        together = alone[passed * 5 : passed * 5 + 5]
        assert together[::2] == first[passed * 3 : passed * 3 + 3]
        assert together[1::2] == second[passed * 2 : passed * 2 + 2]
    assert not set(alone) & set(losses(0, 1, seed=8))


def test_a_dense_schedule_neither_scores_nor_hooks(tmp_path):
    def never(module, batches):
        raise AssertionError("scored")

    callback = SniperCallback(DENSE, score=never, scoring_batches=3)
    _, trainer = fit(tmp_path, callback)
    assert callback.sniper is None and callback.state_dict() == {}
    assert callback.scoring_seconds == 0.0
    assert not trainer.optimizers[0]._optimizer_step_post_hooks


@pytest.mark.parametrize("stop", [2, 3, 4, 8, 9, 10])
def test_resume_around_switches(tmp_path, stop):
    whole, _ = fit(tmp_path, SniperCallback(SCHEDULE, scoring_batches=2), gradient_clip_val=0.5)
    first = SniperCallback(SCHEDULE, scoring_batches=2)
    _, trainer = fit(tmp_path, first, updates=stop, gradient_clip_val=0.5)
    trainer.save_checkpoint(tmp_path / "stopped.ckpt")

    def never(module, batches):
        raise AssertionError("scored again")

    second = SniperCallback(SCHEDULE, scoring_batches=2)
    second.score = never
    resumed, _ = fit(tmp_path, second, resume=tmp_path / "stopped.ckpt", gradient_clip_val=0.5)
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert [switch.update for switch in second.sniper.record] == [0, 3, 6, 9]
    assert second.scoring_seconds == first.scoring_seconds > 0


def test_a_second_fit_goes_on_where_the_first_stopped(tmp_path):
    callback, module = SniperCallback(SCHEDULE, scoring_batches=2), Classifier()
    fit(tmp_path, callback, updates=4, module=module)
    fit(tmp_path, callback, updates=5, module=module)
    assert callback.sniper.update == 9
    assert [switch.update for switch in callback.sniper.record] == [0, 3, 6, 9]


def test_a_fit_after_a_failed_one_goes_on_where_it_failed(tmp_path):
    class Fails(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 4:
                raise OSError("no space left")

    callback, module = SniperCallback(SCHEDULE, scoring_batches=2), Classifier()
    with pytest.raises(OSError, match="no space left"):
        fit(tmp_path, callback, module=module, others=[Fails()])
    assert not any(p._post_accumulate_grad_hooks for p in module.parameters())
    fit(tmp_path, callback, updates=5, module=module)
    assert callback.sniper.update == 9
    assert [switch.update for switch in callback.sniper.record] == [0, 3, 6, 9]


def test_the_record_of_a_checkpoint_is_at_hand_where_nothing_is_left_to_train(tmp_path):
    first = SniperCallback(SCHEDULE, scoring_batches=2)
    assert first.record == []
    _, trainer = fit(tmp_path, first, updates=4)
    trainer.save_checkpoint(tmp_path / "finished.ckpt")
    second = SniperCallback(SCHEDULE, scoring_batches=2)
    fit(tmp_path, second, updates=4, resume=tmp_path / "finished.ckpt")
    assert second.sniper is None and second.record == first.record
    assert [switch.update for switch in second.record] == [0, 3]


@pytest.mark.parametrize(
    ("then", "now", "message"),
    [
        ({"schedule": SCHEDULE}, {"schedule": DENSE}, "dense now, but was sparse"),
        ({"schedule": DENSE}, {"schedule": SCHEDULE}, "update 2 was trained without sparsity"),
        ({"schedule": SCHEDULE}, {"schedule": SCHEDULE, "cap": 0.9}, "cap .1.0 then, 0.9 now"),
    ],
)
def test_a_checkpoint_of_another_training_is_an_error(tmp_path, then, now, message):
    _, trainer = fit(tmp_path, SniperCallback(scoring_batches=2, **then), updates=2)
    trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, SniperCallback(scoring_batches=2, **now), resume=tmp_path / "stopped.ckpt")


@pytest.mark.parametrize(
    ("score", "function"),
    [("magnitude", magnitude_scores), ("random", partial(random_scores, seed=4))],
)
def test_scores_without_batches(tmp_path, score, function):
    module = Classifier()
    expected = function(module)
    lowest = sorted(torch.cat([s.flatten() for s in expected.values()]).tolist())
    callback = SniperCallback(
        SparsitySchedule.constant(0.5), score=score, scoring_batches=0, seed=4
    )
    fit(tmp_path, callback, updates=1, module=module)
    pruned = torch.cat([expected[n][~mask] for n, mask in callback.sniper.masks.items()])
    assert sorted(pruned.tolist()) == lowest[: len(pruned)]


def test_bad_use_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="score is snip, grasp, magnitude, random or a function"):
        SniperCallback(SCHEDULE, score="snap", scoring_batches=1)
    with pytest.raises(ValueError, match="dropout, exclude would be ignored, as .* a function"):
        SniperCallback(SCHEDULE, score=len, scoring_batches=1, exclude=["a"], dropout=False)
    with pytest.raises(ValueError, match="loss_fn would be ignored, as the score is magnitude"):
        SniperCallback(SCHEDULE, score="magnitude", scoring_batches=1, loss_fn=print)
    with pytest.raises(TypeError, match="lr_scalling"):
        SniperCallback(SCHEDULE, scoring_batches=1, lr_scalling="none")
    with pytest.raises(ValueError, match="regrowth is one of init, zero"):
        SniperCallback(SCHEDULE, scoring_batches=1, regrowth="none")
    with pytest.raises(ValueError, match="fc"):
        callback = SniperCallback(SCHEDULE, scoring_batches=1, include=["fc.*"])
        fit(tmp_path, callback)

    class Two(Classifier):
        def configure_optimizers(self):
            self.automatic_optimization = False
            halves = self.net[0].parameters(), self.net[4].parameters()
            return [torch.optim.SGD(half, lr=0.1) for half in halves]

    with pytest.raises(ValueError, match="one optimizer, not 2"):
        fit(tmp_path, SniperCallback(SCHEDULE, scoring_batches=1), module=Two())
