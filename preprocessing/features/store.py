"""The packed feature store: a whole corpus in a few memory-mapped arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audio.constants import HOP
from audio.wav import read_wav
from pipeline.errors import RecipeError
from pipeline.files import read_json

PADDING_SYMBOL = "<pad>"
FRAME_ARRAYS = ("mel", "f0", "energy_frames")
PHONE_ARRAYS = ("phones", "durations", "pitch", "energy")


@dataclass(frozen=True)
class Segment:
    """One stretch of speech and its features; see `FeatureStore`."""

    id: str
    text: str
    phones: np.ndarray
    """indices into the store's symbols, `[phones]`"""
    durations: np.ndarray
    """frames, `[phones]`; they add up to the frames of the arrays below"""
    mel: np.ndarray
    """log-mel, float32 `[frames, mels]`"""
    pitch: np.ndarray
    """natural logarithm of F0, interpolated over unvoiced frames, not normalised, `[phones]`"""
    energy: np.ndarray
    """not normalised, `[phones]`"""
    f0: np.ndarray
    """Hz, 0 where unvoiced, `[frames]`"""
    energy_frames: np.ndarray
    """`[frames]`"""
    start_sample: int
    """in the recording"""
    samples: int
    wav: Path


class FeatureStore:
    """Stage 3's features, opened without reading them.

    Arrays lie end to end: segment i has rows `frame_offsets[i]` to `+ frames[i]` of `mel`
    `[all frames, mels]`, `f0` and `energy_frames` `[all frames]`, and rows `phone_offsets[i]` to
    `+ phone_counts[i]` of `phones`, `durations`, `pitch` and `energy` `[all phones]`.

    Attributes:
        ids: of the segments: the utterance's, with `-1`, `-2` ... where it was cut.
        utterances: which each segment is part of.
        texts: of the segments.
        symbols: of the phones; index 0 is padding.
        statistics: mean and std of the training split: `pitch` and `energy` over phones, `mel`
            over frames, a list of each band's.
        splits_name: of the choice of held-out utterances, as in conf/splits/.
        left_out: how many utterances were left out for each kind of fault
            (`preprocessing.check.KINDS`).

    Raises:
        RecipeError: the folder holds no finished store.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        if not (self.folder / "index.json").exists():
            raise RecipeError(f"{self.folder} holds no features: run `make stage3`")
        index = read_json(self.folder / "index.json")
        self.ids: list[str] = index["ids"]
        self.texts: list[str] = index["texts"]
        self.utterances: list[str] = index["utterances"]
        self.symbols: list[str] = index["symbols"]
        self.statistics: dict = index["statistics"]
        self.splits_name: str = index["splits_name"]
        self.left_out: dict[str, int] = index["left_out"]
        self._splits = {
            name: np.array(rows, dtype=np.int64) for name, rows in index["splits"].items()
        }
        self._wavs = Path(index["wavs"])
        self.start_samples = np.array(index["start_samples"], dtype=np.int64)
        self.frames = np.array(index["frames"], dtype=np.int64)
        self.phone_counts = np.array(index["phone_counts"], dtype=np.int64)
        self.frame_offsets = np.cumsum(self.frames) - self.frames
        self.phone_offsets = np.cumsum(self.phone_counts) - self.phone_counts
        self.mel, self.f0, self.energy_frames = (self._array(name) for name in FRAME_ARRAYS)
        self.phones, self.durations, self.pitch, self.energy = (
            self._array(name) for name in PHONE_ARRAYS
        )

    def _array(self, name: str) -> np.ndarray:
        # Copy-on-write rather than read-only, since torch takes no arrays that it may not write to.
        return np.load(self.folder / f"{name}.npy", mmap_mode="c")

    def __len__(self) -> int:
        return len(self.ids)

    def split(self, name: str) -> np.ndarray:
        """Indices of the segments of "train", "validation" or "test", int64 `[segments]`."""
        return self._splits[name]

    def segment(self, i: int) -> Segment:
        """Everything about segment i, as views of the mapped arrays."""
        frames = slice(self.frame_offsets[i], self.frame_offsets[i] + self.frames[i])
        phones = slice(self.phone_offsets[i], self.phone_offsets[i] + self.phone_counts[i])
        return Segment(
            id=self.ids[i],
            text=self.texts[i],
            phones=self.phones[phones],
            durations=self.durations[phones],
            mel=self.mel[frames],
            pitch=self.pitch[phones],
            energy=self.energy[phones],
            f0=self.f0[frames],
            energy_frames=self.energy_frames[frames],
            start_sample=int(self.start_samples[i]),
            samples=int(self.frames[i]) * HOP,
            wav=self._wavs / f"{self.utterances[i]}.wav",
        )


def natural_waveform(segment: Segment) -> np.ndarray:
    """The recording of a segment, float32 in [-1, 1], `[samples]` at 22,050 Hz."""
    return read_wav(segment.wav, segment.start_sample, segment.samples)
