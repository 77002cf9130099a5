"""Optimizers and schedules of the learning rate, by the names that conf/trainer/ gives them."""

import math

import torch
from omegaconf import DictConfig

from pipeline.settings import chosen


def _cosine(schedule: DictConfig, updates: int, update: int) -> float:
    """Rises linearly over the first `warmup` (a fraction of all updates) and falls to zero."""
    warmup = max(1, round(schedule.warmup * updates))
    if update < warmup:
        return (update + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (update - warmup) / max(1, updates - warmup)))


def _noam(schedule: DictConfig, updates: int, update: int) -> float:
    """hidden^-0.5 · min(u^-0.5, u · warmup^-1.5), with `warmup` in updates.

    As Vaswani et al. 2017 and ESPnet.
    """
    number = update + 1
    return schedule.hidden**-0.5 * min(number**-0.5, number * schedule.warmup**-1.5)


SCHEDULES = {"cosine": _cosine, "noam": _noam}
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def learning_rate_factor(schedule: DictConfig, updates: int, update: int) -> float:
    """What the configured learning rate is multiplied by at an update, counted from zero.

    Raises:
        RecipeError: no schedule of this name.
    """
    return chosen("trainer.schedule.name", schedule.name, SCHEDULES)(schedule, updates, update)
