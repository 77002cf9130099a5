"""Ground-truth-aligned mels of a trained run, to fine-tune a vocoder on.

They are what the model predicts with the recording's own durations, pitch and energy, so that each
frame belongs to a known stretch of the recording. The folder is what jik876/hifi-gan's `train.py`
reads with `--fine_tuning True`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio.wav import write_wav
from fastspeech2.kernels.packing import padding_mask
from fastspeech2.synthesis.acoustic import AcousticModel
from fastspeech2.synthesis.compensation import compensate
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
"""Frames of which the published training cuts pieces; it fails on clips of exactly as many."""


def export_aligned_mels(run: Path, features: Path, folder: Path) -> None:
    """Write `mels/<id>.npy`, `wavs/<id>.wav`, and lists `train.txt` and so on of `id|text`.

    A mel is float32 `[mels, frames]`, its wav 16 bit of 256 samples a frame. Mels are compensated
    where synthesis is, since the vocoder is to hear what it will be given.

    Raises:
        RecipeError: the run is not trained, or on other features.
    """
    trained = run / "train" / "stage.json"
    if not (trained.exists() and read_json(trained)["complete"]):
        raise RecipeError(f"{run} holds no trained model: run `make stage4`, or name another RUN")
    made_of = [read_json(path)["fingerprint"] for path in (trained, features / "stage.json")]
    stage = StageFolder(folder, fingerprint(*made_of))
    if stage.is_complete():
        print(f"{folder} is up to date")
        return
    acoustic, store = load_synthesiser(run).acoustic, FeatureStore(features)
    if acoustic.statistics != store.statistics:
        raise RecipeError(f"{run} was trained on other features than {features}")
    stage.begin()
    written = 0
    torch.set_flush_denormal(True)
    with progress(f"{run.name}: aligned mels", len(store)) as show:
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
    """Pairs of id and mel `[frames, mels]`, in order of length."""
    for chosen in frame_budget_batches(batches.frames, FRAMES_PER_BATCH):
        batch = batches[chosen]
        output = acoustic.model(
            batch.phones, batch.phone_lengths, batch.durations, batch.pitch, batch.energy
        )
        mels = output.mel_postnet
        if acoustic.mel_ratio is not None:
            mask = padding_mask(output.frame_lengths, mels.shape[1])
            mels = compensate(mels, acoustic.mel_ratio, mask)
        for name, mel, frames in zip(batch.ids, mels, batches.frames[chosen], strict=True):
            yield name, mel[:frames]


def _write_recordings(store: FeatureStore, split: str, folder: Path) -> None:
    lines, unfit = [], 0
    for i in store.split(split):
        segment = store.segment(i)
        write_wav(folder / "wavs" / f"{segment.id}.wav", natural_waveform(segment))
        unfit += len(segment.mel) == PUBLISHED_SEGMENT
        if len(segment.mel) != PUBLISHED_SEGMENT:
            lines.append(f"{segment.id}|{segment.text}\n")
    with atomic_path(folder / f"{split}.txt") as temporary:
        temporary.write_text("".join(lines), "utf-8")
    left_out = f"; {unfit} of {PUBLISHED_SEGMENT} frames are left out" if unfit else ""
    print(f"{folder}/{split}.txt: {len(lines)} clips{left_out}")
