"""Judges aligners against labels, and a language's phones against those of the labels.

    python scripts/bench/alignments.py recipe=festvox_ru aligner=viter

Stage 2 has to be finished with `aligner=textgrid`, which reads the labels, and with the other one.
"""

from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

from pipeline.configuration import hydra_main
from preprocessing.alignment import read_textgrid
from preprocessing.alignment.textgrid import Alignment
from preprocessing.corpus.metadata import read_metadata
from preprocessing.text.language import corpus_language
from preprocessing.text.phones import PAUSE
from preprocessing.text.pronouncer import Pronouncer


def boundary_errors(labels: Alignment, other: Alignment) -> np.ndarray:
    """Seconds between the starts of the phones that both have, `[matched phones]`."""
    phones = [[p for p in each.phones if p.label != PAUSE] for each in (labels, other)]
    names = [[phone.label for phone in each] for each in phones]
    blocks = SequenceMatcher(None, *names, autojunk=False).get_matching_blocks()
    pairs = [(a + i, b + i) for a, b, size in blocks for i in range(size)]
    return np.array([phones[1][b].start - phones[0][a].start for a, b in pairs])


def phone_errors(labels: Alignment, spoken: list[str]) -> tuple[int, int]:
    """Substituted, missing and surplus phones, and the number of the labels' phones."""
    wanted = [phone.label for phone in labels.phones if phone.label != PAUSE]
    spoken = [phone for phone in spoken if phone != PAUSE]
    codes = SequenceMatcher(None, wanted, spoken, autojunk=False).get_opcodes()
    return sum(max(b - a, d - c) for kind, a, b, c, d in codes if kind != "equal"), len(wanted)


def judge(config) -> None:
    """Print a table of boundary errors, and the phone error rate."""
    language = corpus_language(config.corpus)
    pronouncer = Pronouncer(None, None, language)
    folder = Path(config.paths.alignments)
    labelled = folder.with_name("textgrid") / "TextGrid"
    errors, wrong, phones = [], 0, 0
    for utterance in read_metadata(Path(config.paths.corpus) / "metadata.csv"):
        grid = f"{utterance.id}.TextGrid"
        labels = read_textgrid(labelled / grid, language.phones)
        errors.append(
            boundary_errors(labels, read_textgrid(folder / "TextGrid" / grid, language.phones))
        )
        mistakes, count = phone_errors(labels, pronouncer.phones(utterance.text))
        wrong, phones = wrong + mistakes, phones + count
    milliseconds = 1000 * np.abs(np.concatenate(errors))
    print("| aligner | utterances | boundaries | median, ms | 95 %, ms | within 20 ms, % |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {config.aligner.name} | {len(errors)} | {len(milliseconds)} "
        f"| {np.median(milliseconds):.0f} | {np.percentile(milliseconds, 95):.0f} "
        f"| {100 * np.mean(milliseconds <= 20):.1f} |"
    )
    print(f"phone errors: {wrong} of {phones}, {100 * wrong / phones:.2f} %")


if __name__ == "__main__":
    hydra_main(judge)
