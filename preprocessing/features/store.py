"""The feature store: a whole corpus packed into a few memory-mapped arrays."""

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
    """An utterance, or a part of one that was cut at pauses, and its features."""

    id: str
    text: str
    phones: np.ndarray
    """indices into the store's symbols, `[phones]`"""
    durations: np.ndarray
    """frames of each phone, `[phones]`; they add up to the frames of the arrays below"""
    mel: np.ndarray
    """log-mel, float32 `[frames, mels]`"""
    pitch: np.ndarray
    """mean over each phone of log F0 interpolated over unvoiced frames, not normalised, `[phones]`
    """
    energy: np.ndarray
    """mean over each phone, not normalised, `[phones]`"""
    f0: np.ndarray
    """Hz, 0 where unvoiced, `[frames]`"""
    energy_frames: np.ndarray
    """L2 norm of the magnitude spectrum, `[frames]`"""
    start_sample: int
    """where the segment begins in its recording"""
    samples: int
    """the segment's length in its recording"""
    wav: Path
    """the recording"""
    mel_kind: str
    """a name in `audio.constants.MEL_KINDS`"""


class FeatureStore:
    """Stage 3's features. Opening a store reads no array.

    The segments lie end to end. Segment i has `frames[i]` rows from `frame_offsets[i]` on of `mel`
    `[all frames, mels]`, `f0` and `energy_frames` `[all frames]`, and `phone_counts[i]` rows from
    `phone_offsets[i]` on of `phones`, `durations`, `pitch` and `energy` `[all phones]`.

    Attributes:
        ids: of each segment: its utterance's id, with `-1`, `-2` ... if the utterance was cut.
        utterances: the utterance of each segment.
        texts: of each segment.
        symbols: the phones by index; index 0 is padding.
        statistics: mean and standard deviation over the training split: of `pitch` and `energy`
            over phones, and of each band of `mel` over frames.
        splits_name: the choice of held-out utterances in conf/splits/.
        mel_kind: a name in `audio.constants.MEL_KINDS`.
        left_out: how many utterances each kind of fault (`preprocessing.faults.KINDS`) left out.

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
        self.mel_kind: str = index.get("mel", "hifigan")
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
        # Mapped copy-on-write, because torch warns about arrays that are read-only.
        return np.load(self.folder / f"{name}.npy", mmap_mode="c")

    def __len__(self) -> int:
        return len(self.ids)

    def split(self, name: str) -> np.ndarray:
        """Indices of the segments of "train", "validation" or "test", int64 `[segments]`."""
        return self._splits[name]

    def segment(self, i: int) -> Segment:
        """Segment i. Its arrays are views of the mapped files."""
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
            mel_kind=self.mel_kind,
        )


def natural_waveform(segment: Segment) -> np.ndarray:
    """Read the recording of a segment, float32 in [-1, 1], `[samples]` at 22,050 Hz."""
    return read_wav(segment.wav, segment.start_sample, segment.samples)
