"""The data of fine-tuning: mels with their recordings, and batches of segments cut from them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset, Sampler

from audio.constants import HOP, MELS, SAMPLE_RATE
from audio.espnet_mel import to_hifigan
from audio.mel import FLOOR
from pipeline.errors import RecipeError
from preprocessing.features.store import FeatureStore, natural_waveform


@dataclass(frozen=True)
class VocoderClip:
    """A mel and the recording that the vocoder should make of it; both are read on demand."""

    id: str
    mel: Callable[[], Tensor]
    """Returns `[frames, mels]`."""
    waveform: Callable[[], Tensor]
    """Returns `[frames · 256]`, in −1…1 at 22,050 Hz."""


def recorded_clips(store: FeatureStore, split: str) -> list[VocoderClip]:
    """List the clips of a split, with the mels of the recordings."""

    def clip(i: int) -> VocoderClip:
        segment = store.segment(i)
        waveform = lambda: torch.from_numpy(natural_waveform(segment))  # noqa: E731
        mel = lambda: to_hifigan(torch.tensor(segment.mel), store.mel_kind)  # noqa: E731
        return VocoderClip(segment.id, mel, waveform)

    return [clip(i) for i in store.split(split)]


def gta_clips(folder: Path, split: str) -> list[VocoderClip]:
    """List the clips of `<folder>/<split>.txt`, in the format that `make gta-mels` writes.

    Raises:
        RecipeError: the list or files that it names are missing, or mels do not fit their wavs.
    """
    listed = folder / f"{split}.txt"
    if not listed.exists():
        raise RecipeError(f"{listed} does not exist: run `make gta-mels`")
    ids = [line.split("|")[0] for line in listed.read_text("utf-8").splitlines() if line]
    if not ids:
        raise RecipeError(f"{listed} lists no clips")
    if faults := [fault for name in ids if (fault := _fault(folder, name))]:
        raise RecipeError(
            f"{listed}: {len(faults)} of {len(ids)} clips cannot be used: {'; '.join(faults[:10])}"
        )

    def clip(name: str) -> VocoderClip:
        def mel() -> Tensor:
            return torch.from_numpy(np.load(folder / "mels" / f"{name}.npy").T.copy()).float()

        def waveform() -> Tensor:
            samples = soundfile.read(folder / "wavs" / f"{name}.wav", dtype="float32")[0]
            return torch.from_numpy(samples)[: len(mel()) * HOP]

        return VocoderClip(name, mel, waveform)

    return [clip(name) for name in ids]


def _fault(folder: Path, name: str) -> str | None:
    mel, wav = folder / "mels" / f"{name}.npy", folder / "wavs" / f"{name}.wav"
    for path in (mel, wav):
        if not path.exists():
            return f"{path} is missing"
    try:
        info, shape = soundfile.info(wav), np.load(mel, mmap_mode="r").shape
    except (OSError, ValueError, EOFError, soundfile.LibsndfileError) as error:
        return f"{mel} or {wav} cannot be read ({error})"
    if (info.samplerate, info.channels) != (SAMPLE_RATE, 1):
        return f"{wav} has {info.channels} channels at {info.samplerate} Hz"
    if len(shape) != 2 or shape[0] != MELS or not 0 <= info.frames - shape[1] * HOP < HOP:
        return f"{mel} has shape {list(shape)}, but {wav} has {info.frames} samples"
    return None


class SegmentBatches(Dataset):
    """Batches of segments. A batch depends only on its number and the seed.

    Each pass over the clips shuffles them and cuts one segment from a random place in each clip.
    It leaves out the clips that do not fill a batch. A clip that is shorter than a segment is
    padded with silence.

    Args:
        clips: read again for each batch, so that the corpus need not fit into memory.
        batch: the number of segments in a batch.
        samples: the length of a segment, a multiple of 256 and at least 1,024.
        seed: of the order of the clips and of the places of the segments.

    Attributes:
        batches_per_pass: the number of batches in a pass.

    Raises:
        RecipeError: the length cannot be used, or the clips do not fill one batch.
    """

    def __init__(self, clips: Sequence[VocoderClip], batch: int, samples: int, seed: int):
        if samples % HOP or samples < 4 * HOP:
            raise RecipeError(
                f"finetuning.segment={samples}: give a multiple of {HOP} of {4 * HOP} or more"
            )
        if len(clips) < batch:
            raise RecipeError(
                f"finetuning.batch={batch}: the training split has only {len(clips)} clips"
            )
        self.clips = clips
        self.batch, self.frames, self.seed = batch, samples // HOP, seed
        self.batches_per_pass = len(clips) // batch

    def __len__(self) -> int:
        return self.batches_per_pass

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Return mels `[batch, mels, frames]` and waveforms `[batch, 1, samples]`."""
        past_passes, position = divmod(number, self.batches_per_pass)
        order = np.random.default_rng([self.seed, past_passes]).permutation(len(self.clips))
        places = np.random.default_rng([self.seed, past_passes, position])
        chosen = order[position * self.batch : (position + 1) * self.batch]
        segments = [self._segment(self.clips[i], places) for i in chosen]
        mels, waveforms = (torch.stack(each) for each in zip(*segments, strict=True))
        return mels.transpose(1, 2), waveforms[:, None]

    def _segment(self, clip: VocoderClip, places: np.random.Generator) -> tuple[Tensor, Tensor]:
        mel, waveform = clip.mel(), clip.waveform()
        start = int(places.integers(max(1, len(mel) - self.frames + 1)))
        mel = mel[start : start + self.frames]
        waveform = waveform[start * HOP : (start + self.frames) * HOP]
        missing = self.frames - len(mel)
        mel = pad(mel, (0, 0, 0, missing), value=math.log(FLOOR))
        return mel, pad(waveform, (0, missing * HOP))


class BatchNumbers(Sampler[int]):
    """The numbers of a training's batches, from where it resumes to where it ends."""

    def __init__(self, start: int, stop: int):
        self.start, self.stop = start, stop

    def __len__(self) -> int:
        # Lightning counts the batches of a resumed training from its beginning.
        return self.stop

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.stop))
