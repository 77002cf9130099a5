"""Small corpora of tones, with the configuration that stages 1 and 2 need."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
import tgt
from conftest import changed, composed

from evaluation.settings import Settings

TEXTS = {"one": "Hello, my good friend.", "two": "The weather is fine.", "three": "Goodbye now."}


def tone(seconds: float = 1.5, rate: int = 22050) -> np.ndarray:
    """Return a sine of 200 Hz, `[samples]`."""
    return 0.3 * np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 200 / rate)


def table_corpus(folder: Path, texts: Mapping[str, str] = TEXTS) -> Settings:
    """Write tones and a table that lists them; return the configuration of stages 1 and 2."""
    folder.mkdir(exist_ok=True)
    for name in texts:
        soundfile.write(folder / f"{name}.wav", tone(), 22050)
    rows = "".join(f'{name}.wav,"{text}"\n' for name, text in texts.items())
    (folder / "list.csv").write_text(f"file,said\n{rows}", "utf-8")
    source = {"table": str(folder / "list.csv"), "delimiter": ",", "path": "file", "text": "said"}
    screening = {"lowest_rms": 0.001, "characters_per_second": [0.5, 40]}
    screening |= {"phone_seconds": [0.03, 2], "short_phones": 0.5, "sound_outside": 2}
    corpus = {"name": "tones", "layout": "table", "only": None, "corrections": {}}
    corpus |= {"max_seconds": None}
    corpus |= {"source": source | {"folder": str(folder)}, "screening": screening}
    names = ("downloads", "corpus", "alignments")
    paths = [f"paths.{name}={folder}/data/{name}" for name in names]
    aligner = {"name": "textgrid", "source": str(folder / "grids")}
    return changed(composed(*paths), corpus=corpus, aligner=aligner)


def ljspeech_corpus(folder: Path, texts: Mapping[str, str] = TEXTS) -> Settings:
    """Write the same tones as a corpus in LJSpeech's layout."""
    config = table_corpus(folder, texts)
    (folder / "wavs").mkdir()
    for name in texts:
        (folder / f"{name}.wav").rename(folder / "wavs" / f"{name}.wav")
    (folder / "metadata.csv").write_text("".join(f"{n}|{t}|{t}\n" for n, t in texts.items()))
    source = {"folder": str(folder), "clips": None}
    return changed(config, corpus__layout="ljspeech", corpus__source=source)


def write_grid(
    path: Path, phones: list[tuple[str, float, float]], speakers=("",), words=()
) -> None:
    """Write a TextGrid with a tier of these phones for each speaker, and one of words."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = tgt.TextGrid()
    tiers = [(f"{speaker} - phones" if speaker else "phones", phones) for speaker in speakers]
    for name, intervals in [*tiers, ("words", words)] if words else tiers:
        tier = tgt.IntervalTier(name=name)
        for label, start, end in intervals:
            tier.add_interval(tgt.Interval(start, end, label))
        grid.add_tier(tier)
    tgt.write_to_file(grid, str(path), format="long")
