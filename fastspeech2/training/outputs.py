"""What a finished training writes: the model for synthesis, and the record for tables."""

import resource
import warnings
from dataclasses import asdict
from pathlib import Path

import lightning
import torch

from fastspeech2.kernels.select import faster_kernels
from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.settings import TrainingSettings
from fastspeech2.synthesis.synthesiser import synthesiser_of
from fastspeech2.training.data import Batch
from fastspeech2.training.module import FastSpeech2Module
from fastspeech2.training.monitoring import MetricsTable
from fastspeech2.training.nonfinite import skipped_updates
from fastspeech2.training.sparsity import prunable_selection
from pipeline.files import atomic_path, write_json
from pipeline.hardware import device_of, processor_name
from pipeline.stages import training_context
from preprocessing.corpus.splits import SPLITS
from preprocessing.features.store import FeatureStore
from sniper import count_flops, prunable_parameters
from sniper.integrations.lightning import SniperCallback


def save_model(
    path: Path, model: FastSpeech2, config: TrainingSettings, store: FeatureStore
) -> None:
    """Write the weights and everything else that synthesis needs, as plain types, in one file."""
    model.eval()
    mel_ratio = None
    if config.model.variance_compensation:
        mel_ratio = synthesiser_of(model, store, True).acoustic.mel_ratio.tolist()
    with atomic_path(path) as temporary:
        torch.save(
            {
                "model": model.state_dict(),
                "mel_ratio": mel_ratio,
                "config": config.model.plain(),
                "features": config.features.plain(),
                "symbols": list(store.symbols),
                "statistics": store.statistics,
            },
            temporary,
        )


def save_sparsity(folder: Path, sniper: SniperCallback) -> None:
    """Write the sparsity of each tensor after each switch to sparsity.json, if there was any."""
    if sniper.record:
        write_json(folder / "sparsity.json", [asdict(switch) for switch in sniper.record])


def save_record(
    folder: Path,
    config: TrainingSettings,
    module: FastSpeech2Module,
    batch: Batch,
    sniper: SniperCallback,
    table: MetricsTable,
    store: FeatureStore,
    precision: str,
    selection: dict,
) -> None:
    """Write record.json: what tables and reports say of a training.

    Args:
        folder: of the training, `<run>/train/`.
        module: the model in its Lightning module.
        batch: of which FLOPs are counted.
        precision: as Lightning calls it.
        selection: the criterion and the updates whose weights became the model.
    """
    device = device_of(config.trainer.accelerator)
    sparsities = [asdict(switch) for switch in sniper.record]
    prunable = prunable_parameters(module, **prunable_selection(config.sparsity))
    record = {
        "name": folder.parent.name,
        "model": config.model.name,
        "seed": config.seed,
        "splits": {"name": store.splits_name}
        | {split: len(store.split(split)) for split in SPLITS},
        "left_out": store.left_out,
        # Systems with the same context differ in nothing but seed and sparsity, and are compared.
        "context": training_context(config),
        "sparsity": config.sparsity.plain(),
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "prunable": sum(p.numel() for p in prunable.values()),
        "updates": config.trainer.updates,
        "skipped_updates": skipped_updates(folder),
        "train_seconds": round(table.seconds, 3),
        "updates_per_second": round(config.trainer.updates / table.seconds, 4),
        "scoring_seconds": round(sniper.scoring_seconds, 3),
        "peak_memory_mb": round(_peak_megabytes(device), 1),
        "final_sparsity": achieved_sparsity(sniper),
        "sparsity_switches": [
            {name: switch[name] for name in ("update", "nominal", "achieved")}
            for switch in sparsities
        ],
        "training_flops": relative_flops(module, batch, sniper, config.trainer.updates),
        "versions": {"torch": torch.__version__, "lightning": lightning.__version__},
        "selection": selection,
        "precision": precision,
        "processor": processor_name(device),
    }
    write_json(folder / "record.json", record)


def achieved_sparsity(sniper: SniperCallback) -> float:
    """Fraction of the prunable weights that is masked now."""
    return sniper.record[-1].achieved if sniper.record else 0.0


def relative_flops(
    module: FastSpeech2Module, batch: Batch, sniper: SniperCallback, updates: int
) -> float | None:
    """Theoretical FLOPs of a training by those of a dense one, counted on a batch.

    None where strategies move the masks of groups.
    """
    settings = sniper.settings
    if any(group["strategy"] for group in settings.get("groups", {}).values()):
        return None
    # The faster kernels and compiled code do not use the weights as they are.
    with (
        faster_kernels(frozenset()),
        torch.compiler.set_stance("force_eager"),
        warnings.catch_warnings(),
    ):
        # Embeddings are looked up, and a product with one number is no matmul.
        warnings.filterwarnings("ignore", message="no operations were counted")
        flops = count_flops(module, lambda each: each.compute_loss(batch))
    pruned, strategy = settings.get("pruned", "zero"), settings.get("strategy")
    training = flops.training(sniper.record, updates, pruned, strategy)
    return round(training / flops.training([], updates), 4)


def _peak_megabytes(device: str) -> float:
    """Peak memory of the GPU if it was trained on one, otherwise of this process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
