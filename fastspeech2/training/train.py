"""One training run, from a feature store to a model that can speak; it resumes where it stopped."""

import os
import resource
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.synthesis.synthesiser import synthesiser_of
from fastspeech2.training.data import (
    BatchStream,
    UtteranceBatches,
    batch_loader,
    frame_budget_batches,
)
from fastspeech2.training.module import FastSpeech2Module
from fastspeech2.training.monitoring import MaskFiles, MetricsTable, TrainingProgress
from fastspeech2.training.nonfinite import FiniteWatch, skipped_updates
from fastspeech2.training.processes import join
from fastspeech2.training.samples import Samples
from fastspeech2.training.scores import scoring
from fastspeech2.training.selection import Selection, candidates
from fastspeech2.training.settings import check_settings
from fastspeech2.training.sparsity import require_reachable, sparsity_schedule
from hifigan import load_vocoder
from pipeline.digests import fingerprint
from pipeline.errors import RecipeError
from pipeline.files import atomic_path, write_json
from pipeline.hardware import device_of, fast_bfloat16, processor_name
from pipeline.lightning_setup import latest_checkpoint, make_trainer, set_up_process
from pipeline.settings import check_choice
from pipeline.stages import FEATURES, TRAINING
from preprocessing.corpus.splits import SPLITS
from preprocessing.features.store import FeatureStore
from sniper import prunable_parameters
from sniper.integrations.lightning import SniperCallback


def sniper_callback(config: DictConfig) -> SniperCallback:
    """The callback that prunes, regrows and scales learning rates as conf/sparsity/ says."""
    schedule = sparsity_schedule(config.sparsity, config.trainer.updates)
    if config.sparsity.kind == "dense":
        return SniperCallback(schedule, scoring_batches=0)
    settings = config.sparsity
    return SniperCallback(
        schedule,
        score=scoring(settings.score, config.seed),
        scoring_batches=settings.scoring_batches,
        seed=config.seed,
        cap=settings.cap,
        lr_scaling=settings.lr_scaling,
        max_lr_scale=settings.max_lr_scale,
        regrowth=settings.regrowth,
    )


def save_model(path: Path, model: FastSpeech2, config: DictConfig, store: FeatureStore) -> None:
    """Weights and everything that synthesis needs beside them, as plain types, in one file."""
    model.eval()
    mel_ratio = None
    if config.model.variance_compensation:
        mel_ratio = synthesiser_of(model, store, True).acoustic.mel_ratio.tolist()
    with atomic_path(path) as temporary:
        torch.save(
            {
                "model": model.state_dict(),
                "mel_ratio": mel_ratio,
                "config": OmegaConf.to_container(config.model, resolve=True),
                "features": OmegaConf.to_container(config.features, resolve=True),
                "symbols": list(store.symbols),
                "statistics": store.statistics,
            },
            temporary,
        )


def check_left_out(store: FeatureStore, allowed: Sequence[str]) -> None:
    """Say how many faulty utterances the features leave out.

    Raises:
        RecipeError: some are of kinds that `check.leave_out` does not name.
    """
    if not store.left_out:
        return
    counts = ", ".join(f"{count} {kind}" for kind, count in store.left_out.items())
    if store.left_out.keys() - set(allowed):
        kinds = ",".join(sorted(store.left_out.keys() | set(allowed)))
        raise RecipeError(
            f"{store.folder} leaves out utterances with faults ({counts}). Say that you want this "
            f"with check.leave_out=[{kinds}], or mend them and run `make stage3` again"
        )
    print(f"{sum(store.left_out.values())} faulty utterances are left out: {counts}")


def precision_of(settings: DictConfig) -> str:
    """The precision of a conf/trainer/ node as Lightning calls it; `auto` is the faster one here.

    Raises:
        RecipeError: it is none of these, say float16, whose gradients are scaled when clipped.
    """
    check_choice("trainer.precision", settings.precision, ("auto", "32-true", "bf16-mixed"))
    if settings.precision != "auto":
        return settings.precision
    return "bf16-mixed" if fast_bfloat16(device_of(settings.accelerator)) else "32-true"


def require_batches(batches: Sequence[Sequence[int]], processes: int) -> None:
    """Raise RecipeError if there are fewer validation batches than processes that share them."""
    if len(batches) < processes:
        raise RecipeError(
            f"the validation split makes {len(batches)} batch{'es' * (len(batches) > 1)}, which "
            f"{processes} processes cannot share: lower trainer.frames_per_batch or trainer.devices"
        )


def train(config: DictConfig, mcd: Callable[[FastSpeech2], float] | None = None) -> None:
    """Train `config.model` under `config.sparsity` and write `train/` in `config.paths.run`.

    Args:
        mcd: how far a model's speech is from recordings, in dB, for `selection=mcd`.

    Raises:
        RecipeError: the features are not there, the configuration cannot be met, or training
            stopped.
    """
    settings = config.trainer
    check_settings(config)
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
    training = UtteranceBatches(store, "train", model.plan)
    plan_validation = partial(model.plan, padded=not model.mask_padding)
    validation = UtteranceBatches(store, "validation", plan_validation)
    require_reachable(config.sparsity, schedule, model)
    model.init_output_bias(torch.tensor(store.statistics["mel"]["mean"]))
    model.set_bin_edges(training.pitch, training.energy)
    module = FastSpeech2Module(model, settings, config.seed, FiniteWatch(folder, config.nonfinite))

    sniper = sniper_callback(config)
    selection = Selection(folder / "candidates", config.selection, eligible, mcd)
    # The last update's weights alone are at hand in the end.
    selects = config.selection.criterion != "last" or config.selection.average > 1
    table = MetricsTable(
        folder / "metrics.csv",
        sparsity=lambda: achieved_sparsity(sniper),
        measured=lambda: selection.measured,
        columns=["validation_mcd"] if config.selection.criterion == "mcd" else [],
    )
    samples = []
    if config.samples:
        samples.append(Samples(store, load_vocoder(config.vocoder), config.samples, table))
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
        logger=TensorBoardLogger(folder, name="tensorboard", version=""),
        use_distributed_sampler=False,
        log_every_n_steps=settings.val_every,
    )
    validation_batches = frame_budget_batches(validation.frames, settings.frames_per_batch)
    require_batches(validation_batches, processes.size)
    # Only now, since an earlier training of other settings is emptied.
    if processes.first and stage.begin():
        print(f"{run}: going on with an unfinished training")
    processes.wait()
    checkpoint, done = latest_checkpoint(checkpoints)
    stream = BatchStream(
        training.frames,
        settings.frames_per_batch,
        config.seed,
        start=done * settings.accumulate,
        stop=settings.updates * settings.accumulate,
        processes=processes,
    )
    trainer.fit(
        module,
        batch_loader(training, stream),
        batch_loader(validation, validation_batches[processes.rank :: processes.size]),
        ckpt_path=checkpoint,
        weights_only=True,
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
    if sniper.record:
        write_json(folder / "sparsity.json", [asdict(switch) for switch in sniper.record])
    record = training_record(config, model, sniper, table, store)
    record["selection"] = {"criterion": selection.name, "chosen": chosen}
    made_on = {"precision": precision, "processor": processor_name(device_of(settings.accelerator))}
    write_json(folder / "record.json", record | made_on)
    stage.finish()
    shutil.rmtree(folder / "candidates", ignore_errors=True)


def achieved_sparsity(callback: SniperCallback) -> float:
    """Share of prunable weights that are masked now, a fraction."""
    return callback.record[-1].achieved if callback.record else 0.0


def peak_megabytes(device: str) -> float:
    """The most memory that this process has had: of the GPU's, where it trains on one."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def training_record(config, model, sniper, table, store) -> dict:
    """What tables say of a run, as in record.json."""
    run = Path(config.paths.run)
    return {
        "name": run.name,
        "model": config.model.name,
        "seed": config.seed,
        "splits": {"name": store.splits_name}
        | {split: len(store.split(split)) for split in SPLITS},
        "left_out": store.left_out,
        # Of all but seed and sparsity: systems that share it can be compared.
        "context": fingerprint(
            FEATURES.fingerprint(config), config.model, config.trainer, config.selection
        ),
        "sparsity": OmegaConf.to_container(config.sparsity, resolve=True),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "prunable": sum(p.numel() for p in prunable_parameters(model).values()),
        "updates": config.trainer.updates,
        "skipped_updates": skipped_updates(run / "train"),
        "train_seconds": round(table.seconds, 3),
        "updates_per_second": round(config.trainer.updates / table.seconds, 4),
        "scoring_seconds": round(sniper.scoring_seconds, 3),
        "peak_memory_mb": round(peak_megabytes(device_of(config.trainer.accelerator)), 1),
        "final_sparsity": achieved_sparsity(sniper),
        "sparsity_switches": [
            {name: getattr(switch, name) for name in ("update", "nominal", "achieved")}
            for switch in sniper.record
        ],
        "versions": {"torch": torch.__version__, "lightning": lightning.__version__},
    }
