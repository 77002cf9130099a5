"""Fine-tuning of HiFi-GAN on recordings of one voice, or on the mels that a model predicts of them.

The training is the published one (section 3 of the paper), in `module.py`.
"""

import shutil
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from hifigan.checkpoint import load_generator
from hifigan.finetuning.discriminators import Discriminators
from hifigan.finetuning.log import FineTuningLog
from hifigan.finetuning.mel_error import compare_generators
from hifigan.finetuning.module import FineTuningModule
from hifigan.finetuning.segments import (
    BatchNumbers,
    SegmentBatches,
    VocoderClip,
    gta_clips,
    recorded_clips,
)
from hifigan.finetuning.weights import (
    load_discriminators,
    load_trainable_generator,
    save_discriminators,
    save_generator,
)
from hifigan.settings import VocoderSettings
from hifigan.vocoder import checked_generator
from pipeline.errors import RecipeError
from pipeline.files import atomic_path, write_json
from pipeline.hardware import device_of
from pipeline.lightning_setup import fit, latest_checkpoint, make_trainer, set_up_process
from pipeline.progress import progress
from pipeline.stages import FINETUNING
from pipeline.vocoder_files import locate
from preprocessing.corpus.splits import SPLITS
from preprocessing.features.store import FeatureStore

GENERATOR, DISCRIMINATORS = "generator_finetuned", "do_finetuned"
"""The files of weights in the output folder, beside `config.json`."""


def finetune(config: VocoderSettings) -> None:
    """Fine-tune `config.vocoder` as conf/finetuning.yaml says, into `config.paths.finetuned`.

    The folder gets the generator, the discriminators and config.json in the official formats,
    metrics.csv, and record.json with the mel errors of held-out clips before and after.

    Raises:
        RecipeError: weights, features or mels are missing or do not fit, a setting is wrong, or a
            loss is not finite.
    """
    settings = config.finetuning
    if settings.accelerator != "auto":
        device_of(settings.accelerator)  # tells if there is none
    stage = FINETUNING.output(config)
    training, validation, heldout = _clips(config)
    before = checked_generator(config.vocoder)
    weights, architecture = locate(config.vocoder.checkpoint), locate(config.vocoder.config)
    torch.manual_seed(config.seed)
    generator = load_trainable_generator(weights, architecture)
    if settings.discriminators:
        discriminators = load_discriminators(settings.discriminators)
    else:
        discriminators = Discriminators()
    batches = SegmentBatches(training, settings.batch, settings.segment, config.seed)
    module = FineTuningModule(
        generator,
        discriminators,
        settings,
        batches.batches_per_pass,
        validation[: settings.validation_clips],
    )
    set_up_process(settings.threads)
    # Not before everything is checked: this empties the folder of weights with other settings.
    if stage.begin():
        print(f"{stage.folder}: resuming an unfinished fine-tuning")
    checkpoints = stage.folder / "checkpoints"
    checkpoint, module.update = latest_checkpoint(checkpoints)
    with progress(f"{stage.folder}: fine-tuning", settings.updates) as show:
        trainer = make_trainer(
            checkpoints,
            [FineTuningLog(stage.folder / "metrics.csv", show)],
            accelerator=settings.accelerator,
            devices=1,
            # Lightning counts the updates of both optimizers.
            max_steps=2 * settings.updates - settings.warmup,
            val_check_interval=settings.val_every,
            logger=False,
        )
        loader = DataLoader(
            batches, batch_size=None, sampler=BatchNumbers(module.update, settings.updates)
        )
        # The module validates on clips of its own: one placeholder batch makes Lightning call it.
        fit(trainer, module, loader, DataLoader([0]), checkpoint)
    if module.update < settings.updates:
        raise RecipeError(f"{stage.folder}: stopped at update {module.update}")

    save_generator(stage.folder / GENERATOR, generator)
    save_discriminators(stage.folder / DISCRIMINATORS, discriminators)
    with atomic_path(stage.folder / "config.json") as temporary:
        shutil.copyfile(architecture, temporary)
    after = load_generator(stage.folder / GENERATOR, stage.folder / "config.json")
    record = compare_generators(before, after, heldout[: settings.heldout_clips])
    write_json(stage.folder / "record.json", {"vocoder": config.vocoder.name} | record)
    # A training without a validation has written no checkpoints.
    shutil.rmtree(checkpoints, ignore_errors=True)
    stage.finish()


def _clips(config: VocoderSettings) -> list[list[VocoderClip]]:
    """List the training, validation and held-out clips."""
    if config.finetuning.mels:
        return [gta_clips(Path(config.finetuning.mels), split) for split in SPLITS]
    store = FeatureStore(config.paths.features)
    return [recorded_clips(store, split) for split in SPLITS]
