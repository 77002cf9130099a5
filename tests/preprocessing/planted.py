"""Faults to plant in a flawless corpus, by the kind under which `make check` has to report them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import tgt


def edited_text(change: Callable[[str], str]):
    """Return a function that changes an utterance's line in metadata.csv."""

    def plant(corpus: Path, wav: Path, grid: Path) -> None:
        path = corpus / "metadata.csv"
        lines = path.read_text("utf-8").splitlines()
        path.write_text(
            "\n".join(change(each) if each.startswith(f"{wav.stem}|") else each for each in lines)
        )

    return plant


def edited_wav(change: Callable[[np.ndarray], np.ndarray], rate: int = 22050):
    """Return a function that changes an utterance's recording."""

    def plant(corpus: Path, wav: Path, grid: Path) -> None:
        soundfile.write(wav, change(soundfile.read(wav)[0]), rate)

    return plant


def in_int16_scale(corpus: Path, wav: Path, grid: Path) -> None:
    """Write floats as they come from 16 bit without a division, as scipy.io.wavfile does."""
    waveform, rate = soundfile.read(wav, dtype="int16")
    soundfile.write(wav, waveform.astype(np.float32), rate, subtype="FLOAT")


def edited_grid(change: Callable[[str, float, float], tuple[str, float, float]], tier="phones"):
    """Return a function that changes the intervals (label, start, end) of a tier."""

    def plant(corpus: Path, wav: Path, grid: Path) -> None:
        whole = tgt.io.read_textgrid(str(grid), include_empty_intervals=True)
        changed = tgt.TextGrid()
        for each in whole.tiers:
            intervals = [(i.text, float(i.start_time), float(i.end_time)) for i in each]
            if each.name == tier:
                intervals = [change(*interval) for interval in intervals]
            copied = tgt.IntervalTier(name=each.name)
            for label, start, end in intervals:
                copied.add_interval(tgt.Interval(start, end, label))
            changed.add_tier(copied)
        tgt.write_to_file(changed, str(grid), format="long")

    return plant


PLANTED = {
    "metadata_line": edited_text(lambda line: line.split("|")[0] + "\n" + line),
    "id_repeated": edited_text(lambda line: line + "\n" + line),
    "text_missing": edited_text(lambda line: line.split("|")[0] + "||"),
    "text_characters": edited_text(lambda line: line + " 日"),
    "words_differ": edited_text(lambda line: line.split("|")[0] + "|x|Quite another sentence."),
    "wav_missing": lambda corpus, wav, grid: wav.unlink(),
    "wav_unreadable": lambda corpus, wav, grid: wav.write_bytes(b"RIFF and no more"),
    "wav_empty": edited_wav(lambda waveform: waveform[:0]),
    "wav_rate": edited_wav(lambda waveform: waveform, rate=16000),
    "wav_channels": edited_wav(lambda waveform: np.stack([waveform, waveform], 1)),
    "wav_length": edited_wav(lambda waveform: np.pad(waveform, (0, 100 * 22050))),
    "wav_scale": in_int16_scale,
    "wav_level": edited_wav(lambda waveform: 0.003 * waveform),
    "wav_offset": edited_wav(lambda waveform: 0.5 * waveform + 0.3),
    "wav_clipped": edited_wav(lambda waveform: np.clip(2.5 * waveform, -1, 1)),
    "textgrid_missing": lambda corpus, wav, grid: grid.unlink(),
    "textgrid_unreadable": lambda corpus, wav, grid: grid.write_text(grid.read_text()[:700]),
    "phones_missing": edited_grid(lambda label, start, end: ("sil", start, end)),
    "phones_unknown": edited_grid(lambda label, start, end: (label.lower(), start, end)),
    "frames_differ": edited_wav(lambda waveform: waveform[: len(waveform) // 2]),
    "silences": edited_grid(
        lambda label, start, end: ("sp" if 0.5 < start < 2.8 else label, start, end)
    ),
    "words_unknown": edited_grid(
        lambda label, start, end: ("spn" if 0.5 < start < 0.7 else label, start, end)
    ),
    "phone_lengths": edited_grid(lambda label, start, end: (label, start / 8, end / 8)),
    "sound_outside": edited_wav(lambda waveform: np.concatenate([waveform, waveform])),
}


def plant_all(corpus: Path, grids: Path, ids: list[str]) -> dict[str, str]:
    """Plant each kind of fault in an utterance of its own; return the utterance of each kind."""
    chosen = dict(zip(PLANTED, ids, strict=False))
    for kind, plant in PLANTED.items():
        id = chosen[kind]
        plant(corpus, corpus / "wavs" / f"{id}.wav", grids / f"{id}.TextGrid")
    return chosen


def assert_all_found(planted: dict[str, str], found: set[tuple[str, str]]) -> None:
    """Compare with pairs (kind, id). A malformed line of metadata.csv has its number for an id."""
    line = next(id for kind, id in found if kind == "metadata_line")
    assert line.startswith("line ")
    expected = set((planted | {"metadata_line": line}).items())
    assert found == expected, (found - expected, expected - found)
