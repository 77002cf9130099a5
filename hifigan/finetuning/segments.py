"""What a vocoder is fine-tuned on: mels with their recordings, and batches of segments of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset

from audio.constants import HOP, MELS, SAMPLE_RATE
from audio.mel import FLOOR
from pipeline.errors import RecipeError
from preprocessing.features.store import FeatureStore, natural_waveform


@dataclass(frozen=True)
class Clip:
    """A mel and the recording that the vocoder ought to make of it, read when wanted."""

    id: str
    mel: Callable[[], Tensor]
    """gives `[frames, mels]`"""
    waveform: Callable[[], Tensor]
    """gives `[frames · 256]`"""


def recorded_clips(store: FeatureStore, split: str) -> list[Clip]:
    """A split of the corpus with the recordings' own mels."""

    def clip(i: int) -> Clip:
        segment = store.segment(i)
        waveform = lambda: torch.from_numpy(natural_waveform(segment))  # noqa: E731
        return Clip(segment.id, lambda: torch.tensor(segment.mel), waveform)

    return [clip(i) for i in store.split(split)]


def gta_clips(folder: Path, split: str) -> list[Clip]:
    """The clips of `<folder>/<split>.txt`, in the format of `make gta-mels`.

    Raises:
        RecipeError: the list or files that it names are missing, or mels do not fit their wavs.
    """
    listed = folder / f"{split}.txt"
    if not listed.exists():
        raise RecipeError(f"{listed} is not there: run `make gta-mels`")
    ids = [line.split("|")[0] for line in listed.read_text("utf-8").splitlines() if line]
    faults = [fault for name in ids if (fault := _fault(folder, name))]
    if faults or not ids:
        raise RecipeError(
            f"{listed}: {len(faults)} of {len(ids)} clips cannot be used: {'; '.join(faults[:10])}"
        )

    def clip(name: str) -> Clip:
        def mel() -> Tensor:
            return torch.from_numpy(np.load(folder / "mels" / f"{name}.npy").T.copy())

        def waveform() -> Tensor:
            samples = soundfile.read(folder / "wavs" / f"{name}.wav", dtype="float32")[0]
            return torch.from_numpy(samples)[: len(mel()) * HOP]

        return Clip(name, mel, waveform)

    return [clip(name) for name in ids]


def _fault(folder: Path, name: str) -> str | None:
    mel, wav = folder / "mels" / f"{name}.npy", folder / "wavs" / f"{name}.wav"
    for path in (mel, wav):
        if not path.exists():
            return f"{path} is missing"
    info, shape = soundfile.info(wav), np.load(mel, mmap_mode="r").shape
    if (info.samplerate, info.channels) != (SAMPLE_RATE, 1):
        return f"{wav} has {info.channels} channels at {info.samplerate} Hz"
    if len(shape) != 2 or shape[0] != MELS or not 0 <= info.frames - shape[1] * HOP < HOP:
        return f"{mel} has shape {list(shape)}, but {wav} has {info.frames} samples"
    return None


class SegmentBatches(Dataset):
    """Batches of segments, each of which depends on nothing but its number and the seed.

    A pass takes a segment from anywhere in each clip, in an order of its own, and leaves out what
    no longer fills a batch. Clips that are shorter than a segment are followed by silence.

    Args:
        clips: read anew each time, so that a corpus of any size will do.
        batch: segments of a batch.
        samples: of a segment, a multiple of 256, and 1,024 at least.
        seed: of order and places.

    Attributes:
        batches_per_pass: how many batches make a pass.
    """

    def __init__(self, clips: Sequence[Clip], batch: int, samples: int, seed: int):
        if samples % HOP or samples < 4 * HOP:
            raise RecipeError(
                f"finetuning.segment is {samples}: it has to be a multiple of {HOP}, and at least "
                f"{4 * HOP}"
            )
        if len(clips) < batch:
            raise RecipeError(f"{len(clips)} clips are too few for batches of {batch}")
        self.clips = clips
        self.batch, self.frames, self.seed = batch, samples // HOP, seed
        self.batches_per_pass = len(clips) // batch

    def __len__(self) -> int:
        return self.batches_per_pass

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Mels `[batch, mels, frames]` and waveforms `[batch, 1, samples]` of batch `number`."""
        passed, place = divmod(number, self.batches_per_pass)
        order = np.random.default_rng([self.seed, passed]).permutation(len(self.clips))
        places = np.random.default_rng([self.seed, passed, place])
        chosen = order[place * self.batch : (place + 1) * self.batch]
        segments = [self._segment(self.clips[i], places) for i in chosen]
        mels, waveforms = (torch.stack(each) for each in zip(*segments, strict=True))
        return mels.transpose(1, 2), waveforms[:, None]

    def _segment(self, clip: Clip, places: np.random.Generator) -> tuple[Tensor, Tensor]:
        mel, waveform = clip.mel(), clip.waveform()
        start = int(places.integers(max(1, len(mel) - self.frames + 1)))
        mel = mel[start : start + self.frames]
        waveform = waveform[start * HOP : (start + self.frames) * HOP]
        missing = self.frames - len(mel)
        mel = pad(mel, (0, 0, 0, missing), value=math.log(FLOOR))
        return mel, pad(waveform, (0, missing * HOP))
