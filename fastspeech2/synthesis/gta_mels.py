"""Ground-truth-aligned (GTA) mels of a trained run, to fine-tune a vocoder on.

The model predicts them with the recording's own durations, pitch and energy, so that each frame
belongs to a known part of the recording. jik876/hifi-gan's `train.py --fine_tuning True` reads the
folder too.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio.wav import write_wav
from fastspeech2.settings import TrainingSettings
from fastspeech2.synthesis.acoustic import AcousticModel
from fastspeech2.synthesis.synthesiser import load_synthesiser
from fastspeech2.training.data import UtteranceBatches, frame_budget_batches
from pipeline.digests import fingerprint
from pipeline.errors import RecipeError
from pipeline.files import atomic_path, read_json, write_array
from pipeline.progress import progress
from pipeline.stage_folder import StageFolder
from preprocessing.corpus.splits import SPLITS
from preprocessing.features.store import FeatureStore, natural_waveform

FRAMES_PER_BATCH = 4000
PUBLISHED_SEGMENT = 32
"""Segment length of the published training, in frames. It fails on clips of exactly this length."""


def write_gta_mels(config: TrainingSettings) -> None:
    """Write `mels/<id>.npy`, `wavs/<id>.wav` and, for each split, `<split>.txt` of `id|text`.

    They go into the folder `paths.gta_mels`.

    A mel is float32 `[mels, frames]`; its wav is 16 bit and has 256 samples per frame. Mels get the
    run's variance compensation, so that the vocoder trains on what synthesis will give it.

    Raises:
        RecipeError: there are no features, or the run is not trained or was trained on others.
    """
    paths = config.paths
    run, features, folder = Path(paths.run), Path(paths.features), Path(paths.gta_mels)
    trained = run / "train" / "stage.json"
    if not (trained.exists() and read_json(trained)["complete"]):
        raise RecipeError(f"{run} holds no trained model: run `make stage4`, or choose another RUN")
    store = FeatureStore(features)
    sources = [read_json(path)["fingerprint"] for path in (trained, features / "stage.json")]
    stage = StageFolder(folder, fingerprint(*sources))
    if stage.is_complete():
        print(f"{folder} is up to date")
        return
    acoustic = load_synthesiser(run).acoustic
    if acoustic.statistics != store.statistics:
        raise RecipeError(f"{run} was trained on other features than {features}")
    stage.begin()
    written = 0
    torch.set_flush_denormal(True)
    with progress(f"{run.name}: GTA mels", len(store)) as show:
        for split in SPLITS:
            for name, mel in _predictions(acoustic, UtteranceBatches(store, split)):
                write_array(folder / "mels" / f"{name}.npy", np.ascontiguousarray(mel.numpy().T))
                written += 1
                show(written)
            _write_recordings(store, split, folder)
    stage.finish()


@torch.inference_mode()
def _predictions(
    acoustic: AcousticModel, batches: UtteranceBatches
) -> Iterator[tuple[str, Tensor]]:
    """Yield the id and the mel `[frames, mels]` of each utterance, ordered by length."""
    for chosen in frame_budget_batches(batches.frames, FRAMES_PER_BATCH):
        batch = batches[chosen]
        output = acoustic.model(
            batch.phones, batch.phone_lengths, batch.durations, batch.pitch, batch.energy
        )
        mels = acoustic.hifigan_mel(output)
        for name, mel, frames in zip(batch.ids, mels, batches.frames[chosen], strict=True):
            yield name, mel[:frames]


def _write_recordings(store: FeatureStore, split: str, folder: Path) -> None:
    """Write the split's recordings and its list, which leaves out clips the published code cannot
    train on."""
    lines, unusable = [], 0
    for i in store.split(split):
        segment = store.segment(i)
        write_wav(folder / "wavs" / f"{segment.id}.wav", natural_waveform(segment))
        if len(segment.mel) == PUBLISHED_SEGMENT:
            unusable += 1
        else:
            lines.append(f"{segment.id}|{segment.text}\n")
    with atomic_path(folder / f"{split}.txt") as temporary:
        temporary.write_text("".join(lines), "utf-8")
    left_out = f"; left out {unusable} of {PUBLISHED_SEGMENT} frames" if unusable else ""
    print(f"{folder}/{split}.txt: {len(lines)} clips{left_out}")
