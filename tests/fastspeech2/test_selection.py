"""Which weights become the model, against closed forms and across kills."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fastspeech2.settings import Selection as SelectionSettings
from fastspeech2.training.selection import Selection, candidates, mean_state
from pipeline.errors import RecipeError
from pipeline.settings import checked
from sniper import SparsitySchedule

LOSSES = {10: 5.0, 20: 2.0, 30: 4.0, 40: 1.0, 50: 3.0, 60: 2.0}
DECAYING = SparsitySchedule.steps({0: 0.4, 10: 0.2, 25: 0.0})


def settings(criterion="loss", **values):
    others = {"loss": {"component": "total"}, "mcd": {"utterances": 1, "times": 9}}
    values = {"criterion": criterion, "average": 1, **others.get(criterion, {})} | values
    return checked(SelectionSettings, values)


def model_at(update: int) -> nn.Module:
    """Sets all weights to the number of the update, except one that is pruned."""
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(update)
        model[0].weight[0, 0] = 0.0
        model[1].running_var.fill_(update)
        model[1].num_batches_tracked.fill_(update)
    return model


def validate(selection: Selection, updates, first=True) -> None:
    for update in updates:
        trainer = SimpleNamespace(
            global_step=update,
            is_global_zero=first,
            callback_metrics={"validation_total": torch.tensor(LOSSES[update])},
        )
        selection.on_validation_end(trainer, SimpleNamespace(model=model_at(update)))


def test_the_best_are_kept_and_their_mean_keeps_zeros(tmp_path):
    selection = Selection(tmp_path, settings(average=3), LOSSES)
    validate(selection, LOSSES)
    # The losses at 20 and 60 are equal.
    assert [entry["update"] for entry in selection.kept] == [40, 60, 20]
    state = selection.chosen()
    assert torch.equal(state["0.weight"], torch.tensor([[0.0, 40.0], [40.0, 40.0]]))
    assert torch.equal(state["1.running_var"], torch.full((2,), 40.0))
    assert state["1.num_batches_tracked"] == 60


def test_the_mean_of_equal_values_is_the_value():
    value = {"edges": torch.rand(1000, generator=torch.Generator().manual_seed(0))}
    assert torch.equal(mean_state([value] * 3)["edges"], value["edges"])


def test_the_last_are_the_newest_whatever_their_losses(tmp_path):
    selection = Selection(tmp_path, settings(criterion="last", average=2), LOSSES)
    validate(selection, LOSSES)
    assert [entry["update"] for entry in selection.kept] == [60, 50]


@pytest.mark.parametrize("killed", [30, 40, 50])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_kill_loses_no_weights_that_either_checkpoint_asks_for(tmp_path, killed, lost):
    """Truncate the `lost` newest checkpoints; the losses of the second attempt differ."""
    selection = Selection(tmp_path, settings(average=2), LOSSES)
    states = {}
    for update in (update for update in LOSSES if update <= killed):
        validate(selection, [update])
        states[update] = copy.deepcopy(selection.state_dict())
    # The kill comes after this validation and before its checkpoint.
    resumed = Selection(tmp_path, settings(average=2), LOSSES)
    resumed.load_state_dict(states[killed - 10 * (1 + lost)])
    for entry in resumed.kept:
        assert (tmp_path / f"{entry['update']:08d}.pt").exists()
    validate(resumed, [update for update in LOSSES if update > killed - 10 * (1 + lost)])
    assert [entry["update"] for entry in resumed.kept] == [40, 60]
    assert torch.equal(resumed.chosen()["1.running_var"], torch.full((2,), 50.0))


def test_mcd_is_measured_at_candidates_only_and_told_to_the_table(tmp_path):
    values = {20: 7.0, 40: float("nan"), 60: 6.0}
    chosen = settings(criterion="mcd", average=2)
    selection = Selection(tmp_path, chosen, values, lambda model: values[int(model[1].bias[0])])
    measured = []
    for update in LOSSES:
        validate(selection, [update])
        measured.append(selection.measured)
    assert measured[0] == {} and measured[1] == {"validation_mcd": 7.0}
    assert [bool(each) for each in measured] == [False, True] * 3
    assert [entry["update"] for entry in selection.kept] == [60, 20]


def test_candidates_come_after_the_last_switch():
    assert candidates(settings(), 10, 65, DECAYING) == [30, 40, 50, 60]
    assert candidates(settings(), 5, 40, DECAYING) == [
        30,
        35,
        40,
    ]  # not 25
    constant = SparsitySchedule.constant(0.4)
    assert candidates(settings(), 30, 60, constant) == [30, 60]
    mcd = settings(criterion="mcd", times=2, utterances=1)
    assert candidates(mcd, 10, 65, DECAYING) == [40, 60]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"criterion": "best"}, "criterion=best: choose one of last, loss, mcd$"),
        ({"component": "pitch"}, "component=pitch: choose one of total, mel$"),
        (
            {"average": 5},
            "average is 5, but there are 4 validations after the last switch",
        ),
    ],
)
def test_settings_that_cannot_be_met_are_told(values, message):
    with pytest.raises(RecipeError, match=message):
        candidates(settings(**values), 10, 65, DECAYING)
