"""Optimizers and learning rate schedules, by their names in conf/trainer/."""

import math

import torch
from omegaconf import DictConfig

from pipeline.settings import chosen


def _cosine(schedule: DictConfig, updates: int, update: int) -> float:
    """Linear warm-up over `warmup`, a fraction of all updates, then half a cosine down to zero."""
    warmup = max(1, round(schedule.warmup * updates))
    if update < warmup:
        return (update + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (update - warmup) / max(1, updates - warmup)))


def _noam(schedule: DictConfig, updates: int, update: int) -> float:
    """hidden^-0.5 · min(u^-0.5, u · warmup^-1.5) at update u, with `warmup` in updates.

    Vaswani et al. 2017, section 5.3, and ESPnet's NoamLR.
    """
    number = update + 1
    return schedule.hidden**-0.5 * min(number**-0.5, number * schedule.warmup**-1.5)


SCHEDULES = {"cosine": _cosine, "noam": _noam}
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def learning_rate_factor(schedule: DictConfig, updates: int, update: int) -> float:
    """Factor by which an update, counted from zero, multiplies the configured learning rate.

    Raises:
        RecipeError: there is no schedule of this name.
    """
    return chosen("trainer.schedule.name", schedule.name, SCHEDULES)(schedule, updates, update)
