"""Checks, reads and writes recordings: 16 bit, mono, 22,050 Hz."""

import io
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from audio.constants import SAMPLE_RATE
from pipeline.errors import FaultsError, UtteranceError
from pipeline.files import atomic_path

HIGHEST = 2.0
"""Float samples are in [-1, 1]. Resampling and filters pass this a little, other scales by far."""
_CUT = re.compile(
    r"^ *(?:data|SSND|Data Size|Riff size|riff) *: (\d+) \(should be (\d+)\)$", re.MULTILINE
)
"""How libsndfile reports a file that is shorter than its header says: the chunk of samples of a
WAV, AIFF or AU, or the whole of an RF64 or W64."""
_UNKNOWN_LENGTH = 2**31 - 2**16
"""Bytes. Programs that write a WAV into a pipe, such as ffmpeg and sox, state a length above this.
"""


def write_wav(path: Path | str, waveform: np.ndarray, rate: int = SAMPLE_RATE) -> None:
    """Write a recording of one channel atomically, in 16 bit.

    Raises:
        OSError: the disk is full, for example. Libsndfile itself would only say "System error".
    """
    import soundfile

    contents = io.BytesIO()
    soundfile.write(contents, waveform, rate, subtype="PCM_16", format="WAV")
    with atomic_path(path) as temporary:
        temporary.write_bytes(contents.getbuffer())


def wav_fault(path: Path | str) -> UtteranceError | None:
    """Find what is wrong with a recording by its header and, if they are floats, by its samples."""
    import soundfile

    if not Path(path).exists():
        return UtteranceError("wav_missing", "does not exist")
    try:
        info = soundfile.info(path, verbose=True)
        if info.frames == 0:
            return UtteranceError("wav_empty", "holds no samples")
        if reason := cut_short(info):
            return UtteranceError("wav_unreadable", reason)
        # Integer samples, which nearly all corpora have, are always finite and within full scale.
        if info.subtype in ("FLOAT", "DOUBLE") and (
            fault := samples_fault(soundfile.read(path)[0])
        ):
            return fault
    except soundfile.LibsndfileError as error:
        return _unreadable(error)
    if info.samplerate != SAMPLE_RATE:
        return UtteranceError(
            "wav_rate",
            f"has a sample rate of {info.samplerate} Hz where {SAMPLE_RATE} Hz are needed",
        )
    if info.channels != 1:
        return UtteranceError("wav_channels", f"has {info.channels} channels where 1 is needed")
    return None


def samples_fault(waveform: np.ndarray) -> UtteranceError | None:
    """Find what is wrong with samples that are floats, of one or more channels."""
    if not np.isfinite(waveform).all():
        return UtteranceError("wav_unreadable", "holds samples that are infinite or not numbers")
    if (highest := float(np.abs(waveform).max(initial=0))) > HIGHEST:
        return UtteranceError(
            "wav_scale",
            f"has samples up to {highest:.0f} where full scale is 1: divide them by the full scale "
            "that they were written with, such as 32768",
        )
    return None


def cut_short(info) -> str | None:
    """Say how much is missing if a file is shorter than its header says, or return None.

    Args:
        info: `soundfile.info` of the file, with `verbose=True`.
    """
    found = _CUT.search(info.extra_info)
    if found is None or not int(found[2]) < int(found[1]) < _UNKNOWN_LENGTH:
        return None
    return f"is cut short: {found[2]} bytes are left of {found[1]}"


def _unreadable(error) -> UtteranceError:
    return UtteranceError(
        "wav_unreadable", f"cannot be read as audio ({error.error_string.strip()})"
    )


def check_wavs(folder: Path | str, ids: Iterable[str]) -> None:
    """Check the header of every recording.

    Raises:
        FaultsError: recordings are missing, empty, corrupt or of another format; names them all.
    """
    paths = [Path(folder) / "wavs" / f"{id}.wav" for id in ids]
    faults = [(str(path), str(fault)) for path in paths if (fault := wav_fault(path))]
    if faults:
        raise FaultsError(
            "checking the recordings",
            faults,
            f"Convert them to mono at {SAMPLE_RATE} Hz, for example with "
            f"`sox in.wav -r {SAMPLE_RATE} -c 1 -b 16 out.wav`, get damaged ones again, or "
            "take them out of metadata.csv.",
        )


def read_wav(path: Path | str, start: int = 0, samples: int = -1) -> np.ndarray:
    """Read a recording, or a part of it, as float32 in [-1, 1], `[samples]`.

    Args:
        path: of the recording.
        start: the first sample to read.
        samples: how many to read; -1 reads to the end.

    Raises:
        UtteranceError: the file is missing, empty, corrupt or of another format; names it.
    """
    import soundfile

    fault = wav_fault(path)
    if fault is None:
        try:
            waveform, _ = soundfile.read(path, frames=samples, start=start, dtype="float32")
            return waveform
        except soundfile.LibsndfileError as error:
            fault = _unreadable(error)
    raise UtteranceError(fault.kind, f"{path} {fault}")
