"""Checks of the settings of a training; all mistakes are reported at once."""

from omegaconf import DictConfig

from fastspeech2.training.optimization import OPTIMIZERS, SCHEDULES
from fastspeech2.training.sparsity import sparsity_schedule
from pipeline.errors import RecipeError
from pipeline.settings import check_settings, one_of, real, whole
from sniper.settings import LR_SCALINGS, REGROWTHS

SETTINGS = {
    "seed": whole(0),
    "samples": whole(0),
    "trainer.accelerator": one_of(("cpu", "gpu", "mps")),
    "trainer.devices": whole(1),
    "trainer.threads": whole(1),
    "trainer.updates": whole(1),
    "trainer.val_every": whole(1),
    "trainer.frames_per_batch": whole(1),
    "trainer.espnet_bins": whole(1, nullable=True),
    "trainer.workers": whole(0),
    "trainer.compile": one_of((False, True)),
    "trainer.init_statistics": one_of(("recomputed", "taken")),
    "trainer.accumulate": whole(1),
    "trainer.optimizer.name": one_of(OPTIMIZERS),
    "trainer.optimizer.lr": real(0),
    "trainer.schedule.name": one_of(SCHEDULES),
    "trainer.schedule.warmup": real(0),
    "trainer.gradient_clip": real(0, nullable=True),
    "sparsity.scoring_batches": whole(1),
    "sparsity.lr_scaling": one_of(LR_SCALINGS),
    "sparsity.max_lr_scale": real(1),
    "sparsity.regrowth": one_of(REGROWTHS),
    "sparsity.cap": real(0),
    "sparsity.lowest": real(0),
    "sparsity.first_switch": real(0),
    "sparsity.begin": real(0),
    "sparsity.finish": real(0),
    "selection.average": whole(1),
    "selection.times": whole(1),
    "selection.utterances": whole(1),
}


def check_training(config: DictConfig) -> None:
    """Check the settings that the model does not check itself.

    Raises:
        RecipeError: names all settings that are out of range or unknown; or the sparsity schedule
            does not fit the training.
    """
    check_settings(config, SETTINGS)
    if config.trainer.compile and config.kernels != "plain":
        raise RecipeError(
            "trainer.compile=true: torch.compile cannot trace fast kernels, so set kernels=plain"
        )
    schedule = config.trainer.schedule
    if schedule.name == "cosine" and schedule.warmup >= 1:
        raise RecipeError(
            f"trainer.schedule.warmup={schedule.warmup}: give a fraction of the updates, below 1"
        )
    sparsity_schedule(config.sparsity, config.trainer.updates)
