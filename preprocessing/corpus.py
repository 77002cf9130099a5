"""A corpus on disk in LJSpeech's layout: `wavs/<id>.wav` and `metadata.csv` (id|raw|normalised)."""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocessing.artefacts import NOT_UTF8, atomic_path, read_csv, write_csv
from preprocessing.errors import FaultsError, UtteranceError
from preprocessing.frames import SAMPLE_RATE

NOT_FINITE = "holds samples that are infinite or not numbers"
_CUT = re.compile(r"^ *(?:data|SSND) : (\d+) \(should be (\d+)\)$", re.MULTILINE)
"""what libsndfile says of the chunk of samples in a WAV or AIFF"""
_UNKNOWN_LENGTH = 2**31 - 2**16
"""bytes; what writes a WAV into a pipe, as ffmpeg and sox do, states one as great as can be"""


@dataclass(frozen=True)
class Utterance:
    """One recording: its id, the text as published, and the text as it is spoken."""

    id: str
    raw: str
    text: str


def read_metadata(path: Path | str) -> list[Utterance]:
    """Utterances of a `metadata.csv`: `id|raw|normalised`, UTF-8, in which quotes mean nothing.

    A line `id|text` is taken too: stage 1 normalises every text.

    Raises:
        FaultsError: lines of another shape or encoding, empty texts or repeated ids.
    """
    utterances, faults = parse_metadata(path)
    if faults:
        raise FaultsError(
            f"reading {path}",
            [(name, str(fault)) for name, fault in faults],
            "Mend these lines: id|text|normalised text, or id|text.",
        )
    return utterances


def parse_metadata(
    path: Path | str,
) -> tuple[list[Utterance], list[tuple[str, UtteranceError]]]:
    """Utterances of a `metadata.csv`, one for each id, and what is wrong with it: (id, fault)."""
    utterances, faults, seen = [], [], set()
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        try:
            fields = line.decode("utf-8-sig").split("|")
        except UnicodeDecodeError:
            faults.append((f"line {number}", UtteranceError("metadata_line", NOT_UTF8)))
            continue
        if len(fields) not in (2, 3):
            reason = f"has {len(fields)} fields where 3 are needed, or 2 without normalised text"
            faults.append((f"line {number}", UtteranceError("metadata_line", reason)))
            continue
        utterance = Utterance(fields[0], fields[1], fields[-1])
        if utterance.id in seen:
            reason = f"is there twice (line {number})"
            faults.append((utterance.id, UtteranceError("id_repeated", reason)))
            continue
        seen.add(utterance.id)
        utterances.append(utterance)
        if not utterance.text.strip():
            reason = f"has an empty text (line {number})"
            faults.append((utterance.id, UtteranceError("text_missing", reason)))
    return utterances, faults


def write_metadata(path: Path | str, utterances: Iterable[Utterance]) -> None:
    """Write a `metadata.csv` that is read back as it was, but for `|` and white space in texts."""
    with atomic_path(path) as temporary:
        lines = (f"{u.id}|{_one_field(u.raw)}|{_one_field(u.text)}\n" for u in utterances)
        temporary.write_text("".join(lines), "utf-8")


def _one_field(text: str) -> str:
    return " ".join(text.replace("|", " ").split())


def write_reasons(path: Path | str, rows: Iterable[tuple[str, str]]) -> None:
    """A CSV table of utterances that were left out, and why: `id,reason`."""
    write_csv(path, ["id", "reason"], ({"id": id, "reason": reason} for id, reason in rows))


def read_reasons(path: Path | str) -> list[tuple[str, str]]:
    return [(row["id"], row["reason"]) for row in read_csv(path)]


def write_wav(path: Path | str, waveform: np.ndarray, rate: int = SAMPLE_RATE) -> None:
    """Write a recording of one channel atomically, 16 bit.

    Raises:
        OSError: the disk is full, or what else; libsndfile itself would only say "System error".
    """
    import soundfile

    contents = io.BytesIO()
    soundfile.write(contents, waveform, rate, subtype="PCM_16", format="WAV")
    with atomic_path(path) as temporary:
        temporary.write_bytes(contents.getbuffer())


def wav_fault(path: Path | str) -> UtteranceError | None:
    """What is wrong with a recording's file by its header, or its samples if they are floats."""
    import soundfile

    if not Path(path).exists():
        return UtteranceError("wav_missing", "there is no such file")
    try:
        info = soundfile.info(path, verbose=True)
        if info.frames == 0:
            return UtteranceError("wav_empty", "holds no samples")
        if reason := cut_short(info):
            return UtteranceError("wav_unreadable", reason)
        # Whole numbers, which nearly all corpora have, are always finite.
        if info.subtype in ("FLOAT", "DOUBLE") and not np.isfinite(soundfile.read(path)[0]).all():
            return UtteranceError("wav_unreadable", NOT_FINITE)
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


def cut_short(info) -> str | None:
    """Whether a file has less than its header says, by libsndfile's verbose report, or None."""
    found = _CUT.search(info.extra_info)
    if found is None or int(found[1]) >= _UNKNOWN_LENGTH:
        return None
    return f"is cut short: {found[2]} bytes are left of {found[1]}"


def _unreadable(error) -> UtteranceError:
    return UtteranceError(
        "wav_unreadable", f"cannot be read as audio ({error.error_string.strip()})"
    )


def check_wavs(folder: Path | str, utterances: Iterable[Utterance]) -> None:
    """Look at the header of every recording.

    Raises:
        FaultsError: names every missing, empty or corrupt file and those of another format.
    """
    paths = [Path(folder) / "wavs" / f"{utterance.id}.wav" for utterance in utterances]
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
    """Samples of a recording, float32 in [-1, 1], `[samples]`.

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
