"""Learning rates, and optimizers and schedules by their dotted names."""

import pytest
import torch
from conftest import composed

from fastspeech2.training.module import make_optimizer
from fastspeech2.training.optimization import cosine, noam
from pipeline.errors import RecipeError


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def test_cosine_rises_to_one_and_falls():
    (factor,) = cosine(optimizer(), updates=8, warmup=0.25).lr_lambdas
    # PyTorch's scheduler also asks for the rate of the update after the last.
    factors = [factor(update) for update in range(9)]
    assert factors[:2] == [0.5, 1.0]
    assert factors[2:] == sorted(factors[2:], reverse=True)
    assert factors[-1] == pytest.approx(0.0)


@pytest.mark.parametrize(("model", "hidden"), [("espnet", 384), ("ming024", 256)])
def test_noam_knows_the_models_channels(model, hidden):
    settings = composed("recipe=ljspeech", f"model={model}").trainer.schedule.plain()
    (factor,) = noam(optimizer(), settings["hidden"], settings["warmup"]).lr_lambdas
    assert factor(3_999) == pytest.approx((hidden * settings["warmup"]) ** -0.5)


def test_any_optimizer_and_schedule_can_be_named():
    trainer = composed(
        "~trainer.optimizer",
        "+trainer.optimizer={_target_: torch.optim.SGD, lr: 0.5, momentum: 0.9}",
        "~trainer.schedule",
        "+trainer.schedule={_target_: torch.optim.lr_scheduler.StepLR, step_size: 2, gamma: 0.1}",
    ).trainer
    made, schedule = make_optimizer(trainer, [torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(made, torch.optim.SGD) and made.param_groups[0]["momentum"] == 0.9
    rates = []
    for _ in range(4):
        rates.append(schedule.get_last_lr()[0])
        made.step()
        schedule.step()
    assert rates == pytest.approx([0.5, 0.5, 0.05, 0.05])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.optimizer._target_=torch.optim.Adamw", "Adamw"),
        ("+trainer.optimizer.momentum=0.9", "momentum"),
        ("trainer.schedule._target_=torch.optim.lr_scheduler.StepLR", "updates"),
        ("trainer.schedule.warmup=400", "warmup=400: give a fraction of the updates, below 1"),
    ],
)
def test_what_they_do_not_take_is_told_with_the_setting(override, message):
    name = override.lstrip("+").partition("=")[0].rpartition(".")[0]
    with pytest.raises(RecipeError, match=f"{name}._target_=[^:]*: .*{message}"):
        make_optimizer(composed(override).trainer, [torch.nn.Parameter(torch.zeros(1))])
