"""Makes a corpus of LJSpeech's size and format for measurements, out of another corpus's words.

    python scripts/bench/make_large_corpus.py data/allison/corpus data/allison/alignments/viter \\
        /tmp/large [clips]

Words are cut out of the recordings at the boundaries in their TextGrids, and joined into clips
with lengths like LJSpeech's: 1.1 to 10.1 s, 6.6 s on average. It is not worth listening to, but it
takes as long to process as LJSpeech. Every call makes the same corpus.

Writes `LJSpeech-1.1/wavs/`, `LJSpeech-1.1/metadata.csv` and `TextGrid/LJSpeech/`, ming024's layout.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import tgt
from joblib import Parallel, cpu_count, delayed

from audio.constants import SAMPLE_RATE
from audio.wav import read_wav
from pipeline.files import read_csv
from preprocessing.alignment.textgrid import Interval, read_textgrid
from preprocessing.corpus.metadata import Utterance, read_metadata, write_metadata

CLIPS = 13_100
CLIPS_IN_CHAPTER = 262
SHORTEST, LONGEST = 1.1, 10.1
"""seconds"""
MARGIN = 0.05
"""seconds of silence at both ends of a clip"""
PAUSE_AFTER_WORDS, PAUSE = 7, 0.2
"""After every seventh word there is a pause of 0.2 seconds."""


class Word(NamedTuple):
    """One spoken word."""

    text: str
    waveform: np.ndarray
    """`[samples]`"""
    phones: list[Interval]
    """with times in seconds from the word's beginning"""

    @property
    def seconds(self) -> float:
        return len(self.waveform) / SAMPLE_RATE


def spoken_words(corpus: Path, alignments: Path) -> list[Word]:
    """All words of a corpus that has been through stages 1 and 2."""
    unaligned = {row["id"] for row in read_csv(alignments / "unaligned.csv")}
    words = []
    for utterance in read_metadata(corpus / "metadata.csv"):
        if utterance.id in unaligned:
            continue
        waveform = read_wav(corpus / "wavs" / f"{utterance.id}.wav")
        alignment = read_textgrid(alignments / "TextGrid" / f"{utterance.id}.TextGrid")
        for word in alignment.words:
            start = round(word.start * SAMPLE_RATE)
            phones = [
                Interval(phone.start - word.start, phone.end - word.start, phone.label)
                for phone in alignment.phones
                if word.start - 1e-3 <= phone.start and phone.end <= word.end + 1e-3
            ]
            samples = waveform[start : round(word.end * SAMPLE_RATE)]
            words.append(Word(word.label, samples, phones))
    return words


def lengths(clips: int, generator: np.random.Generator) -> np.ndarray:
    """Draw the seconds of each clip, `[clips]`, from a beta distribution over LJSpeech's range.

    Beta(2.2, 1.4) has a mean of 0.61, which is 6.6 s here, and more long clips than short ones, as
    LJSpeech has.
    """
    return SHORTEST + (LONGEST - SHORTEST) * generator.beta(2.2, 1.4, clips)


def write_clip(
    name: str, seconds: float, words: list[Word], seed: list[int], folder: Path
) -> Utterance:
    """Write one clip and its TextGrid, and return its entry for metadata.csv."""
    generator = np.random.default_rng(seed)
    chosen: list[Word] = []
    time = MARGIN
    parts = [np.zeros(round(MARGIN * SAMPLE_RATE), np.float32)]
    phones, spoken = [Interval(0, MARGIN, "")], [Interval(0, MARGIN, "")]
    while True:
        word = words[generator.integers(len(words))]
        if time + word.seconds + PAUSE + MARGIN > seconds and chosen:
            break
        chosen.append(word)
        parts.append(word.waveform)
        spoken.append(Interval(time, time + word.seconds, word.text))
        ends = [*(phone.end for phone in word.phones[:-1]), word.seconds]
        starts = [0.0, *ends[:-1]]
        for phone, start, end in zip(word.phones, starts, ends, strict=True):
            phones.append(Interval(time + start, time + end, phone.label))
        time += word.seconds
        if len(chosen) % PAUSE_AFTER_WORDS == 0:
            parts.append(np.zeros(round(PAUSE * SAMPLE_RATE), np.float32))
            for tier in (phones, spoken):
                tier.append(Interval(time, time + PAUSE, ""))
            time += PAUSE
    waveform = np.concatenate([*parts, np.zeros(round(seconds * SAMPLE_RATE), np.float32)])
    waveform = waveform[: max(round(seconds * SAMPLE_RATE), round((time + MARGIN) * SAMPLE_RATE))]
    for tier in (phones, spoken):
        tier.append(Interval(time, len(waveform) / SAMPLE_RATE, ""))
    soundfile.write(folder / "LJSpeech-1.1" / "wavs" / f"{name}.wav", waveform, SAMPLE_RATE)
    grid = tgt.TextGrid()
    for tier_name, intervals in (("words", spoken), ("phones", phones)):
        tier = tgt.IntervalTier(name=tier_name)
        for start, end, label in ((round(i.start, 5), round(i.end, 5), i.label) for i in intervals):
            tier.add_interval(tgt.Interval(start, end, label))
        grid.add_tier(tier)
    tgt.write_to_file(grid, folder / "TextGrid" / "LJSpeech" / f"{name}.TextGrid", format="long")
    text = " ".join(word.text for word in chosen)
    return Utterance(name, text, text)


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    for name, help_text in (
        ("corpus", "folder that stage 1 wrote"),
        ("alignments", "folder that stage 2 wrote for that corpus"),
        ("folder", "where to write the new corpus"),
    ):
        parser.add_argument(name, type=Path, help=help_text)
    parser.add_argument("clips", type=int, nargs="?", default=CLIPS)
    arguments = parser.parse_args()
    folder, clips = arguments.folder, arguments.clips
    for each in ("LJSpeech-1.1/wavs", "TextGrid/LJSpeech"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    words = [
        word
        for word in spoken_words(arguments.corpus, arguments.alignments)
        if word.phones and word.seconds > 0.1 and not word.text.startswith("{")
    ]
    targets = lengths(clips, np.random.default_rng(0))
    names = [
        f"LJ{i // CLIPS_IN_CHAPTER + 1:03d}-{i % CLIPS_IN_CHAPTER + 1:04d}" for i in range(clips)
    ]
    chunk = -(-clips // cpu_count())  # One a process, since all words are sent with each chunk.
    made = Parallel(n_jobs=-1)(
        delayed(_write_clips)(names[i : i + chunk], targets[i : i + chunk], words, i, folder)
        for i in range(0, clips, chunk)
    )
    write_metadata(folder / "LJSpeech-1.1" / "metadata.csv", [u for part in made for u in part])
    print(f"{clips} clips, {targets.mean():.2f} s on average, in {folder}")


def _write_clips(names, targets, words, first: int, folder: Path) -> list[Utterance]:
    return [
        write_clip(name, seconds, words, [first + i], folder)
        for i, (name, seconds) in enumerate(zip(names, targets, strict=True))
    ]


if __name__ == "__main__":
    main()
