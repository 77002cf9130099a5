"""Fine-tuning of HiFi-GAN's generator on one voice, or on the mels that a model predicts of it.

Discriminators, losses and optimizers are the published ones (sections 2.3, 2.4 and 3 of the paper).
"""

import logging
import shutil
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.nn.functional import l1_loss
from torch.utils.data import DataLoader, Sampler

from audio.constants import HOP
from audio.mel import log_mel
from hifigan.checkpoint import (
    load_discriminators,
    load_generator,
    load_trainable_generator,
    save_discriminators,
    save_generator,
)
from hifigan.finetuning import losses
from hifigan.finetuning.discriminators import Discriminators
from hifigan.finetuning.segments import Clip, SegmentBatches, gta_clips, recorded_clips
from hifigan.generator import Generator
from hifigan.vocoder import checked_generator, vocode
from pipeline.checkpoints import keep_checkpoints, latest_checkpoint
from pipeline.errors import RecipeError
from pipeline.files import atomic_path, write_csv, write_json
from pipeline.hardware import keep_freed_memory
from pipeline.progress import progress
from pipeline.settings import check_numbers
from pipeline.stage_folder import StageFolder
from pipeline.stages import finetuning_fingerprint
from pipeline.vocoder_files import locate
from preprocessing.corpus.splits import SPLITS
from preprocessing.features.store import FeatureStore

GENERATOR, DISCRIMINATORS = "generator_finetuned", "do_finetuned"
"""Files of the output, beside `config.json`."""
WHOLE = {
    "seed": 0,
    "finetuning.updates": 1,
    "finetuning.warmup": 0,
    "finetuning.epoch": 1,
    "finetuning.validation_clips": 1,
    "finetuning.batch": 1,
    "finetuning.segment": HOP,
}
REAL = {
    "finetuning.learning_rate": 0.0,
    "finetuning.discriminator_learning_rate": 0.0,
    "finetuning.decay": 0.0,
}
"""Numbers that are whole and others, and the least that each may be."""
COLUMNS = ["update", "seconds", "discriminator", "adversarial", "features", "mel", "validation_mel"]


def mel_errors(generator: Generator, clips: Sequence[Clip]) -> list[float]:
    """How far each clip is from its recording when vocoded: mean distance of log-mels."""
    errors = []
    for clip in clips:
        copy = vocode(generator, [clip.mel()])[0]
        errors.append(float(l1_loss(log_mel(copy), log_mel(clip.waveform()))))
    return errors


class FineTuning(lightning.LightningModule):
    """Generator and discriminators, and how they are trained in turns.

    Args:
        generator: with weight norm.
        discriminators: their opponents.
        config: conf/finetuning.yaml.
        batches_per_pass: after as many updates both learning rates decay.
        validation: clips on which the mel error is measured.

    Attributes:
        done: updates.
    """

    def __init__(
        self,
        generator: Generator,
        discriminators: Discriminators,
        config: Mapping[str, Any],
        batches_per_pass: int,
        validation: Sequence[Clip],
    ):
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminators = generator, discriminators
        self.config, self.batches_per_pass = config, batches_per_pass
        self.validation = validation
        self.done = 0

    def configure_optimizers(self) -> tuple[list, list]:
        def optimizer(module, rate: float) -> torch.optim.Optimizer:
            return torch.optim.AdamW(module.parameters(), rate, tuple(self.config["betas"]))

        optimizers = [
            optimizer(self.generator, self.config["learning_rate"]),
            optimizer(self.discriminators, self.config["discriminator_learning_rate"]),
        ]
        decay = self.config["decay"]
        return optimizers, [torch.optim.lr_scheduler.ExponentialLR(o, decay) for o in optimizers]

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> dict[str, Tensor]:
        mels, real = batch
        generator_optimizer, discriminator_optimizer = self.optimizers()
        generated = self.generator(mels)
        parts = {"discriminator": self._teach(real, generated.detach(), discriminator_optimizer)}
        if number >= self.config["warmup"]:
            parts |= self._improve(real, generated, generator_optimizer)
        if (number + 1) % self.batches_per_pass == 0:
            for scheduler in self.lr_schedulers():
                scheduler.step()
        return {"parts": parts}

    def _teach(self, real: Tensor, generated: Tensor, optimizer) -> Tensor:
        """An update of the discriminators; their loss."""
        (real_scores, _), (scores, _) = self.discriminators.compare(real, generated)
        loss = losses.discriminator_loss(real_scores, scores)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss.detach()

    def _improve(self, real: Tensor, generated: Tensor, optimizer) -> dict[str, Tensor]:
        """An update of the generator; its losses, not weighted."""
        # Gradients pass through the discriminators, but they need none themselves.
        self.discriminators.requires_grad_(False)
        with torch.no_grad():
            _, real_maps = self.discriminators(real)
        scores, maps = self.discriminators(generated)
        parts = {
            "adversarial": losses.adversarial_loss(scores),
            "features": losses.feature_loss(real_maps, maps),
            "mel": losses.mel_loss(real[:, 0], generated[:, 0]),
        }
        total = parts["adversarial"] + losses.FEATURES * parts["features"]
        total = total + losses.MEL * parts["mel"]
        if not torch.isfinite(total):
            raise RecipeError(
                f"the loss is not finite: { ({k: float(v) for k, v in parts.items()}) }"
            )
        optimizer.zero_grad()
        self.manual_backward(total)
        optimizer.step()
        self.discriminators.requires_grad_(True)
        return {name: value.detach() for name, value in parts.items()}

    def validation_step(self, batch, batch_idx: int) -> None:
        error = statistics.fmean(mel_errors(self.generator, self.validation))
        self.log("validation_mel", error, batch_size=1)
        self.log("step", float(self.done), batch_size=1)  # by which checkpoints are named


class Numbers(Sampler[int]):
    """Numbers of batches from where a training goes on to where it ends."""

    def __init__(self, start: int, stop: int):
        self.start, self.stop = start, stop

    def __len__(self) -> int:
        return self.stop  # Lightning counts a resumed training's batches from its beginning

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.stop))


class Record(lightning.Callback):
    """metrics.csv, a row for each validation, and the progress that is shown.

    The rows are part of each checkpoint, as in the training of FastSpeech2.
    """

    def __init__(self, path: Path, show: Callable[[float], None]):
        self.path, self.show = path, show
        self.rows: list[dict] = []
        self.seconds = 0.0
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def state_dict(self) -> dict:
        return {"rows": self.rows, "seconds": self._seconds()}

    def load_state_dict(self, state: dict) -> None:
        self.rows, self.seconds = state["rows"], state["seconds"]

    def _seconds(self) -> float:
        return self.seconds + time.perf_counter() - self._started

    def on_train_start(self, trainer, module) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer, module, outputs, batch, number) -> None:
        for name, value in outputs["parts"].items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        self.show(number + 1)
        module.done = number + 1

    def on_validation_end(self, trainer, module) -> None:
        if self.rows and self.rows[-1]["update"] == module.done:
            return  # validated again after a resume
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        error = float(trainer.callback_metrics["validation_mel"])
        row = {"update": module.done, "seconds": round(self._seconds(), 1), "validation_mel": error}
        self.rows.append(dict.fromkeys(COLUMNS, "") | row | means)
        write_csv(self.path, COLUMNS, self.rows)
        print(f"update {module.done}: mel L1 on validation clips {error:.4f}", flush=True)


def finetune(config: DictConfig) -> None:
    """Fine-tune `config.vocoder` as conf/finetuning.yaml says, and write `config.paths.finetuned`.

    The folder holds generator, discriminators and config.json in the published formats, metrics.csv
    and record.json with the mel errors of held-out clips before and after.

    Raises:
        RecipeError: weights, features or mels are missing or unfit, or a loss is not finite.
    """
    settings = config.finetuning
    check_numbers(config, WHOLE, REAL)
    stage = StageFolder(config.paths.finetuned, finetuning_fingerprint(config))
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

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    some = validation[: settings.validation_clips]
    module = FineTuning(generator, discriminators, settings, batches.batches_per_pass, some)
    # Only now, since earlier weights of other settings are emptied.
    if stage.begin():
        print(f"{stage.folder}: going on with an unfinished fine-tuning")
    checkpoint, module.done = latest_checkpoint(stage.folder / "checkpoints")
    with progress(f"{stage.folder}: fine-tuning", settings.updates) as show:
        trainer = lightning.Trainer(
            accelerator=settings.accelerator,
            devices=1,
            # Lightning counts an update of each optimizer.
            max_steps=2 * settings.updates - settings.warmup,
            max_epochs=-1,
            val_check_interval=settings.epoch,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            logger=False,
            callbacks=[
                Record(stage.folder / "metrics.csv", show),
                keep_checkpoints(stage.folder / "checkpoints"),
            ],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(
            module,
            DataLoader(batches, None, sampler=Numbers(module.done, settings.updates)),
            DataLoader([0]),
            ckpt_path=checkpoint,
            weights_only=False,
        )
    if module.done < settings.updates:
        raise RecipeError(f"{stage.folder}: stopped at update {module.done}")

    save_generator(stage.folder / GENERATOR, generator)
    save_discriminators(stage.folder / DISCRIMINATORS, discriminators)
    with atomic_path(stage.folder / "config.json") as temporary:
        shutil.copyfile(architecture, temporary)
    after = load_generator(stage.folder / GENERATOR, stage.folder / "config.json")
    record = compare(before, after, heldout[: settings.heldout_clips])
    write_json(stage.folder / "record.json", {"vocoder": config.vocoder.name} | record)
    shutil.rmtree(stage.folder / "checkpoints", ignore_errors=True)  # none if it was short
    stage.finish()


def _clips(config: DictConfig) -> list[list[Clip]]:
    """Training, validation and held-out clips."""
    if config.finetuning.mels:
        return [gta_clips(Path(config.finetuning.mels), split) for split in SPLITS]
    store = FeatureStore(config.paths.features)
    return [recorded_clips(store, split) for split in SPLITS]


def compare(before: Generator, after: Generator, clips: Sequence[Clip]) -> dict[str, Any]:
    """Print and return the mel errors of clips before and after fine-tuning."""
    errors = {"before": mel_errors(before, clips), "after": mel_errors(after, clips)}
    means = {name: statistics.fmean(values) for name, values in errors.items()}
    lower = sum(a < b for b, a in zip(*errors.values(), strict=True))
    print(
        f"mel L1 on {len(clips)} held-out clips: {means['before']:.4f} before, "
        f"{means['after']:.4f} after, lower on {lower}"
    )
    ids = [clip.id for clip in clips]
    return {
        "mel_l1": means,
        "clips": {name: dict(zip(ids, values, strict=True)) for name, values in errors.items()},
    }
