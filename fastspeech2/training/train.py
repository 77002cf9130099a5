"""One training run, from a feature store to a model that can speak. It resumes where it stopped."""

import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from audio.constants import HOP
from fastspeech2.kernels.select import choose_kernels
from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.settings import TrainerSettings, TrainingSettings
from fastspeech2.training.batching import espnet_batches, frame_budget_batches
from fastspeech2.training.data import BatchStream, UtteranceBatches, batch_loader
from fastspeech2.training.loggers import make_logger
from fastspeech2.training.module import FastSpeech2Module, make_optimizer
from fastspeech2.training.monitoring import MaskFiles, MetricsTable, TrainingProgress
from fastspeech2.training.nonfinite import FiniteWatch
from fastspeech2.training.outputs import (
    achieved_sparsity,
    save_model,
    save_record,
    save_sparsity,
)
from fastspeech2.training.processes import join
from fastspeech2.training.samples import Samples
from fastspeech2.training.scores import scoring
from fastspeech2.training.selection import Selection, candidates
from fastspeech2.training.sparsity import (
    PATTERNS,
    group_settings,
    mask_settings,
    prunable_selection,
    require_reachable,
    sparsity_schedule,
)
from fastspeech2.training.warm_start import warm_start
from hifigan import load_vocoder
from pipeline.errors import RecipeError
from pipeline.hardware import device_of, fast_bfloat16
from pipeline.lightning_setup import fit, latest_checkpoint, make_trainer, set_up_process
from pipeline.stages import TRAINING
from preprocessing.features.store import FeatureStore
from sniper import SparsitySchedule
from sniper.integrations.lightning import SniperCallback


def train(config: TrainingSettings, mcd: Callable[[FastSpeech2], float] | None = None) -> None:
    """Train `config.model` under `config.sparsity` and write `train/` in `config.paths.run`.

    Args:
        mcd: measures the mel-cepstral distortion of a model's speech in dB, for `selection=mcd`.

    Raises:
        RecipeError: the features are missing, the settings cannot be followed, or training stopped.
    """
    settings = config.trainer
    make_optimizer(settings, [torch.nn.Parameter(torch.zeros(1))])  # tells wrong settings
    choose_kernels(config.kernels)
    schedule = sparsity_schedule(config.sparsity, settings.updates)
    eligible = candidates(config.selection, settings.val_every, settings.updates, schedule)
    processes = join(settings.accelerator, settings.devices)
    precision = precision_of(settings)
    stage = TRAINING.output(config)
    folder, run = stage.folder, Path(config.paths.run)
    set_up_process(settings.threads)
    torch.set_float32_matmul_precision("high")

    store = FeatureStore(config.paths.features)
    check_left_out(store, config.check.leave_out)
    torch.manual_seed(config.seed)
    model = FastSpeech2(config.model, len(store.symbols), store.mel.shape[1])
    if not model.normalised_mel:
        model.init_output_bias(torch.tensor(store.statistics["mel"]["mean"]))
    taken: set[str] = set()
    if settings.init_from:
        taken = warm_start(model, settings.init_from, store, settings.init_statistics)
    training = UtteranceBatches(store, "train", model.plan, model.normalised_mel)
    plan_validation = partial(model.plan, padded=not model.mask_padding)
    validation = UtteranceBatches(store, "validation", plan_validation, model.normalised_mel)
    if "pitch_embedding.edges" not in taken:
        model.set_bin_edges(training.pitch, training.energy)
    if settings.compile:
        model.compile(dynamic=True)
    module = FastSpeech2Module(model, settings, config.seed, FiniteWatch(folder, config.nonfinite))
    require_reachable(config.sparsity, schedule, module, settings.updates)
    if not settings.espnet_bins:
        require_room(settings.frames_per_batch, training, validation)

    sniper = sniper_callback(config, schedule)
    selection = Selection(folder / "candidates", config.selection, eligible, mcd)
    # The weights of the last update are there anyway.
    selects = config.selection.criterion != "last" or config.selection.average > 1
    table = MetricsTable(
        folder / "metrics.csv",
        sparsity=lambda: achieved_sparsity(sniper),
        measured=lambda: selection.measured,
        columns=["validation_mcd"] if config.selection.criterion == "mcd" else [],
        tensors=lambda: sniper.record[-1].tensors if sniper.record else {},
    )
    logger, samples = make_logger(config.logger), []
    if config.samples and logger:
        vocoder = load_vocoder(config.vocoder)
        samples.append(Samples(store, vocoder, config.samples, table, folder / "samples"))
    checkpoints = folder / "checkpoints"
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    trainer = make_trainer(
        checkpoints,
        [
            sniper,
            *([selection] if selects else []),
            table,
            *samples,
            MaskFiles(folder / "masks", sniper),
            TrainingProgress(folder / "progress.json", run.name, every=20),
            *(each.make("trainer.callbacks") for each in settings.callbacks),
        ],
        accelerator=settings.accelerator,
        devices=devices,
        num_nodes=processes.size // devices,
        strategy="ddp" if processes.size > 1 else "auto",
        precision=precision,
        max_steps=settings.updates,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.gradient_clip,
        val_check_interval=settings.val_every * settings.accumulate,
        logger=logger or False,
        use_distributed_sampler=False,
        log_every_n_steps=settings.val_every,
        **settings.options(),
    )
    validation_batches = grouping(settings, validation, len(store.symbols))()
    require_batches(validation_batches, processes.size)
    # Not earlier, because this empties the folder of a training with other settings.
    if processes.first and stage.begin():
        print(f"{run}: resuming an unfinished training")
    processes.wait()
    checkpoint, done = latest_checkpoint(checkpoints)
    stream = BatchStream(
        training.frames,
        settings.frames_per_batch,
        config.seed,
        start=done * settings.accumulate,
        stop=settings.updates * settings.accumulate,
        processes=processes,
        grouping=grouping(settings, training, len(store.symbols)),
    )
    pinned = settings.accelerator == "gpu"
    own_batches = validation_batches[processes.rank :: processes.size]
    fit(
        trainer,
        module,
        batch_loader(training, stream, pinned, settings.workers),
        batch_loader(validation, own_batches, pinned),
        checkpoint,
    )
    if trainer.global_step < settings.updates:
        raise RecipeError(f"{run}: stopped at update {trainer.global_step}")

    if not processes.first:
        return
    chosen = [{"update": settings.updates}]
    if selects:
        model.load_state_dict(selection.chosen())
        chosen = selection.kept
    save_model(folder / "model.pt", model, config, store)
    save_sparsity(folder, sniper)
    selected = {"criterion": selection.name, "chosen": chosen}
    batch = validation[validation_batches[0]]
    save_record(folder, config, module, batch, sniper, table, store, precision, selected)
    stage.finish()
    shutil.rmtree(folder / "candidates", ignore_errors=True)


def sniper_callback(config: TrainingSettings, schedule: SparsitySchedule) -> SniperCallback:
    """The callback that masks weights, lets them return and scales learning rates."""
    settings = config.sparsity
    if settings.kind == "dense":
        return SniperCallback(schedule, scoring_batches=0)
    selection = prunable_selection(settings)
    score = scoring(settings.score, config.seed, selection)
    if groups := group_settings(settings):
        own = {n: scoring(each.score, config.seed, selection) for n, each in groups.items()}
        score = {f"model.{pattern}": each for pattern, each in own.items()} | {"*": score}
    patterns = {name: selection[name] for name in PATTERNS}
    functions = all(map(callable, score.values() if groups else [score]))
    return SniperCallback(
        schedule,
        score=score,
        scoring_batches=settings.scoring_batches,
        seed=config.seed,
        **({} if functions else patterns),
        **mask_settings(settings, config.trainer.updates, config.seed),
    )


def grouping(
    settings: TrainerSettings, utterances: UtteranceBatches, symbols: int
) -> Callable[..., list[list[int]]]:
    """What groups a split's utterances into batches, by `espnet_bins` or `frames_per_batch`.

    Args:
        settings: of the trainer.
        symbols: size of the vocabulary.
    """
    if not settings.espnet_bins:
        return partial(frame_budget_batches, utterances.frames, settings.frames_per_batch)
    # ESPnet counts no end of sentence, and has a symbol more, <unk>.
    phones = utterances.phone_counts.astype(np.int64) - 1
    samples = utterances.frames * HOP
    return partial(espnet_batches, phones, samples, symbols + 1, settings.espnet_bins)


def check_left_out(store: FeatureStore, allowed: Sequence[str]) -> None:
    """Print how many faulty utterances the features leave out.

    Raises:
        RecipeError: some of them have faults of kinds that `check.leave_out` does not name.
    """
    if not store.left_out:
        return
    counts = ", ".join(f"{count} {kind}" for kind, count in store.left_out.items())
    if store.left_out.keys() - set(allowed):
        kinds = ",".join(sorted(store.left_out.keys() | set(allowed)))
        raise RecipeError(
            f"{store.folder} leaves out utterances with faults ({counts}). Allow this with "
            f"check.leave_out=[{kinds}], or correct them and run `make stage3` again"
        )
    print(f"{sum(store.left_out.values())} faulty utterances are left out: {counts}")


def precision_of(settings: TrainerSettings) -> str:
    """Lightning's name of the precision of a conf/trainer/ node; `auto` is the faster one here."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16-mixed" if fast_bfloat16(device_of(settings.accelerator)) else "32-true"


def require_room(frames: int, *splits: UtteranceBatches) -> None:
    """Raise RecipeError if a batch of so many frames has no room for the longest utterance."""
    longest = max(int(split.frames.max()) for split in splits)
    if frames < longest:
        raise RecipeError(
            f"trainer.frames_per_batch={frames}: the longest utterance has {longest} frames, so "
            "give at least as many, and more for batches of several utterances"
        )


def require_batches(batches: Sequence[Sequence[int]], processes: int) -> None:
    """Raise RecipeError if there are fewer validation batches than processes that share them."""
    if len(batches) < processes:
        raise RecipeError(
            f"the validation split makes {len(batches)} batch{'es' * (len(batches) > 1)}, which "
            f"{processes} processes cannot share: lower trainer.frames_per_batch or trainer.devices"
        )
