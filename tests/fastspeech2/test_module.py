"""Learning rates and optimizers by name."""

import pytest
import torch
from conftest import composed
from omegaconf import OmegaConf

from fastspeech2.training.module import FastSpeech2Module
from fastspeech2.training.optimization import learning_rate_factor
from pipeline.errors import RecipeError


@pytest.mark.parametrize("warmup", [0.25, 1.0])
def test_cosine_rises_to_one_and_falls_unless_it_warms_up_to_the_end(warmup):
    schedule = OmegaConf.create({"name": "cosine", "warmup": warmup})
    # PyTorch's scheduler also asks for the rate of the update after the last.
    factors = [learning_rate_factor(schedule, 8, update) for update in range(9)]
    rising = int(8 * warmup)
    assert factors[:rising] == [(i + 1) / rising for i in range(rising)]
    assert factors[rising:] == sorted(factors[rising:], reverse=True)
    assert factors[-1] == pytest.approx(0.0 if warmup < 1 else 1.0)


@pytest.mark.parametrize(("model", "hidden"), [("espnet", 384), ("ming024", 256)])
def test_noam_knows_the_models_channels(model, hidden):
    schedule = composed("recipe=ljspeech", f"model={model}").trainer.schedule
    highest = (hidden * schedule.warmup) ** -0.5
    assert learning_rate_factor(schedule, 40_000, 3_999) == pytest.approx(highest)


@pytest.mark.parametrize("setting", ["schedule", "optimizer"])
def test_unknown_names_are_told(setting):
    settings = OmegaConf.load("conf/trainer/cpu.yaml")
    settings[setting].name = "linear"
    module = FastSpeech2Module(torch.nn.Linear(1, 1), settings, 0, watch=None)
    with pytest.raises(RecipeError, match=f"trainer.{setting}.name=linear: choose one of "):
        module.configure_optimizers()
