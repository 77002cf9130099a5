"""Recordings as a corpus publishes them, and their conversion to 16-bit mono at 22,050 Hz."""

from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audio.constants import SAMPLE_RATE
from audio.wav import cut_short, samples_fault, write_wav
from pipeline.disk import bytes_in, disk_space
from pipeline.errors import FaultsError, RecipeError
from pipeline.progress import progress
from preprocessing.settings import CorpusSettings

Reasons = list[tuple[str, str]]
"""Pairs of an utterance or file, and what is wrong with it."""
ADVICE = "Mend them, or leave them out."


class Recording(NamedTuple):
    """One published recording."""

    id: str
    path: Path
    """An audio file in a format that libsndfile reads (wav, flac, ogg, mp3), or G.722."""
    text: str


def selection(corpus: CorpusSettings, known: Set[str]) -> Callable[[str], bool]:
    """Return a function that says whether `corpus.only` asks for an utterance.

    Args:
        corpus: the corpus's configuration.
        known: the ids of all utterances of the corpus.

    Raises:
        RecipeError: `corpus.only` or `corpus.corrections` names utterances that are not known.
    """
    for setting in ("only", "corrections"):
        if unknown := sorted(set(getattr(corpus, setting) or ()) - known):
            raise RecipeError(
                f"corpus.{setting} names utterances that are not there: {', '.join(unknown)}"
            )
    return (lambda utterance: True) if corpus.only is None else set(corpus.only).__contains__


def duration(path: Path) -> float:
    """Return the length of a recording in seconds, as its header states it.

    Raises:
        RecipeError: the file cannot be read as audio, is empty, or is cut short.
    """
    import soundfile

    try:
        info = soundfile.info(path, verbose=True)
        if info.frames == 0:
            raise RecipeError("holds no samples")
        if reason := cut_short(info):
            raise RecipeError(reason)
        return info.duration
    except soundfile.LibsndfileError as error:
        raise RecipeError(f"cannot be read as audio ({error.error_string.strip()})") from error


def decode(path: Path) -> tuple[np.ndarray, int]:
    """Read a recording: float32 samples in [-1, 1], `[samples]`, channels averaged; and its rate.

    Raises:
        RecipeError: the file is damaged or cut short, or its samples are far beyond full scale.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            waveform = file.read(dtype="float32", always_2d=True)
            rate, stated = file.samplerate, file.frames
    except soundfile.LibsndfileError as error:
        raise RecipeError(f"is damaged ({error.error_string.strip()})") from error
    # The length that an MP3 states may be an estimate.
    if len(waveform) < 0.9 * stated:
        raise RecipeError(f"is cut short: {len(waveform)} samples are left of {stated}")
    if fault := samples_fault(waveform):
        raise fault
    return waveform.mean(1), rate


def convert_all(
    recordings: Sequence[Recording],
    folder: Path,
    seconds: float,
    decode: Callable[[Path], tuple[np.ndarray, int]] = decode,
) -> None:
    """Write each recording to `wavs/<id>.wav` of a corpus folder, unless it is there already.

    Args:
        recordings: the recordings to convert.
        folder: the corpus folder.
        seconds: the length of all recordings together, to tell early that the disk is too small.
        decode: reads a recording's samples and its sample rate.

    Raises:
        RecipeError: the disk is full.
        FaultsError: names every recording that is damaged.
    """
    import soxr

    faults: Reasons = []
    with (
        disk_space(folder, int(2 * SAMPLE_RATE * seconds) - bytes_in(folder)),
        progress("converting", len(recordings)) as show,
    ):
        for done, recording in enumerate(recordings, 1):
            path = folder / "wavs" / f"{recording.id}.wav"
            try:
                if not path.exists():
                    waveform, rate = decode(recording.path)
                    write_wav(path, soxr.resample(waveform, rate, SAMPLE_RATE))
            except RecipeError as error:
                faults.append((str(recording.path), str(error)))
            show(done)
    if faults:
        raise FaultsError("converting the recordings", faults, ADVICE)
