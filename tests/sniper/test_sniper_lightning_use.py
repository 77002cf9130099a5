"""The Lightning callback beside metrics, manual optimization, streams and second fits."""

import pytest
import torchmetrics
from lightning.pytorch.loggers.logger import DummyLogger
from lightning_cases import DENSE, SCHEDULE, Classifier, data, fit
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from sniper import SparsitySchedule, magnitude_scores
from sniper.integrations.lightning import SniperCallback


class Counting(Classifier):
    """Has a metric, a counter and a dictionary that training_step changes."""

    def __init__(self):
        super().__init__()
        self.metric = torchmetrics.SumMetric()
        self.values = torchmetrics.CatMetric()
        self.count, self.by_size, self.at_start = 0, {}, None

    def on_train_batch_start(self, batch, batch_idx):
        if self.at_start is None:
            found = self.metric.compute(), self.count, len(self.by_size), len(self.values.value)
            self.at_start = [int(value) for value in found]

    def training_step(self, batch, batch_idx):
        self.metric.update(len(batch[0]))
        self.values.update(batch[0][0, 0])
        self.count += 1
        self.by_size[len(batch[0])] = self.count
        if self.logger is not None:
            self.logger.log_metrics({"seen": self.count})
        return super().training_step(batch, batch_idx)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_scoring_counts_in_no_metric_counter_or_logger(tmp_path):
    class Log(DummyLogger):
        def log_metrics(self, metrics, step=None):
            logged.append(metrics)

    logged, module = [], Counting()
    callback = SniperCallback(SCHEDULE, scoring_batches=3)
    fit(tmp_path, callback, module=module, updates=2, logger=Log())
    assert module.at_start == [0, 0, 0, 0]
    assert [each["seen"] for each in logged if "seen" in each] == [1, 2] and module.count == 2


class Manual(Classifier):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        self.optimizers().zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx)["loss"])
        self.optimizers().step()


def test_manual_optimization_needs_a_loss_function(tmp_path):
    module = Manual()
    with pytest.raises(ValueError, match="give SniperCallback a loss_fn"):
        fit(tmp_path, SniperCallback(SCHEDULE, scoring_batches=2), module=module)
    assert not module.seen

    def loss_fn(module, batch):
        return nn.functional.cross_entropy(module.net(batch[0]), batch[1])

    callback = SniperCallback(SCHEDULE, scoring_batches=2, loss_fn=loss_fn)
    fit(tmp_path, callback, module=Manual(), updates=8)
    assert callback.sniper.update == 8 and callback.sniper.sparsity == 0.1


class Stream(IterableDataset):
    """Goes on where it stopped, so that scoring must not read from it."""

    def __init__(self):
        self.samples, self.position = data(), 0

    def __iter__(self):
        while self.position < len(self.samples):
            self.position += 1
            yield self.samples[self.position - 1]


def test_data_that_are_iterated_over_are_not_used_up(tmp_path):
    modules = []
    for schedule in (DENSE, SCHEDULE):
        callback = SniperCallback(schedule, scoring_batches=3)
        module, _ = fit(tmp_path, callback, updates=2, loader=DataLoader(Stream(), 16))
        modules.append(module)
    assert modules[0].seen == modules[1].seen


def test_a_callback_that_is_used_again_starts_anew_with_another_module(tmp_path):
    callback = SniperCallback(SCHEDULE, scoring_batches=2)
    for _ in range(2):
        fit(tmp_path, callback, updates=7)
        assert callback.sniper.update == 7
        assert [switch.update for switch in callback.record] == [0, 3, 6]


def test_a_sparsity_that_cannot_be_reached_is_told_before_scoring(tmp_path):
    module = Classifier()
    callback = SniperCallback(SparsitySchedule.constant(0.8), scoring_batches=2, cap=0.75)
    with pytest.raises(ValueError, match="smallest cap that works is 0.8"):
        fit(tmp_path, callback, module=module)
    assert not module.seen


def test_the_example_of_the_digits_runs(tmp_path):
    schedule = SparsitySchedule.steps({0: 0.8, 85: 0.4, 170: 0.2, 255: 0.1, 340: 0.0})
    callback = SniperCallback(schedule, scoring_batches=8)
    fit(tmp_path, callback, updates=2)
    assert callback.sniper.sparsity == 0.8


def test_groups_have_their_own_scores_and_schedules(tmp_path):
    module = Classifier()
    magnitudes = magnitude_scores(module)
    names = list(magnitudes)
    callback = SniperCallback(
        SparsitySchedule.constant(0.0),
        score={names[0]: "magnitude", "*": "snip"},
        scoring_batches=2,
        groups={names[0]: {"schedule": 0.5}},
    )
    fit(tmp_path, callback, module=module, updates=2)
    masks = callback.sniper.masks
    kept, score = masks[names[0]], magnitudes[names[0]]
    assert score[kept].min() >= score[~kept].max() and 0.4 < kept.double().mean() < 0.6
    assert all(mask.all() for name, mask in masks.items() if name != names[0])
    with pytest.raises(ValueError, match="not snap"):
        SniperCallback(0.4, score={"*": "snap"}, scoring_batches=2)
