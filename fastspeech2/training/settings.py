"""Checks of the settings of a training; all mistakes are reported at once."""

from collections.abc import Collection, Iterator

from omegaconf import DictConfig, OmegaConf

from fastspeech2.training.optimization import OPTIMIZERS, SCHEDULES
from fastspeech2.training.sparsity import sparsity_schedule
from pipeline.errors import RecipeError
from pipeline.settings import ABSENT, check_choice, wrong_numbers
from sniper.settings import LR_SCALINGS, REGROWTHS

WHOLE = {
    "seed": 0,
    "samples": 0,
    "trainer.devices": 1,
    "trainer.threads": 1,
    "trainer.updates": 1,
    "trainer.val_every": 1,
    "trainer.frames_per_batch": 1,
    "trainer.accumulate": 1,
    "sparsity.scoring_batches": 1,
    "selection.average": 1,
    "selection.times": 1,
    "selection.utterances": 1,
}
"""Integers and their smallest values."""
REAL = {
    "trainer.optimizer.lr": 0.0,
    "trainer.schedule.warmup": 0.0,
    "trainer.gradient_clip": 0.0,
    "sparsity.max_lr_scale": 1.0,
    "sparsity.cap": 0.0,
    "sparsity.lowest": 0.0,
    "sparsity.first_switch": 0.0,
    "sparsity.begin": 0.0,
    "sparsity.finish": 0.0,
}
"""Other numbers and their smallest values."""
NULLABLE = ("trainer.gradient_clip",)
CHOICES: dict[str, Collection[str]] = {
    "trainer.accelerator": ("cpu", "gpu", "mps"),
    "trainer.optimizer.name": OPTIMIZERS,
    "trainer.schedule.name": SCHEDULES,
    "sparsity.lr_scaling": LR_SCALINGS,
    "sparsity.regrowth": REGROWTHS,
}


def check_settings(config: DictConfig) -> None:
    """Check the settings that the model does not check itself.

    Raises:
        RecipeError: names all settings that are out of range or unknown; or the sparsity schedule
            does not fit the training.
    """
    problems = [*wrong_numbers(config, WHOLE, REAL, NULLABLE), *_choices(config)]
    schedule = config.trainer.schedule
    if not problems and schedule.name == "cosine" and schedule.warmup >= 1:
        problems.append(
            f"trainer.schedule.warmup={schedule.warmup}: give a fraction of the updates, below 1"
        )
    if problems:
        raise RecipeError("; ".join(problems))
    sparsity_schedule(config.sparsity, config.trainer.updates)


def _choices(config: DictConfig) -> Iterator[str]:
    for name, options in CHOICES.items():
        value = OmegaConf.select(config, name, default=ABSENT)
        if value is ABSENT:
            continue
        try:
            check_choice(name, value, options)
        except RecipeError as error:
            yield str(error)
