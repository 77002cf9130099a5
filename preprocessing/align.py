"""Stage 2: TextGrids for a corpus, by one of three aligners."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from preprocessing import aligners
from preprocessing.artefacts import StageFolder, atomic_path
from preprocessing.choices import check_choice, check_numbers
from preprocessing.corpus import (
    SAMPLE_RATE,
    Utterance,
    check_wavs,
    read_metadata,
    read_wav,
    write_reasons,
)
from preprocessing.disk import bytes_in, disk_space
from preprocessing.errors import FaultsError, RecipeError, UtteranceError
from preprocessing.fingerprints import alignment_fingerprint
from preprocessing.language import Language, corpus_language
from preprocessing.text import PAUSE
from preprocessing.textgrid import Alignment, read_textgrid

Reasons = list[tuple[str, str]]

WHOLE = {"aligner.seed": 0, "aligner.jobs": 1}
REAL = {"aligner.training_minutes": 0.1}
"""Numbers that are whole and others, and the least that each may be."""
SHORT_PHONE = 0.031
"""seconds; Hidden Markov models of three states cannot go below three frames of 10 ms"""


def align(config: DictConfig) -> None:
    """Write `TextGrid/`, `lexicon.txt` and `unaligned.csv` into `paths.alignments`.

    What is finished is kept if the process is killed: the lexicon, the aligner's model, and the
    TextGrids once they are all there.

    Raises:
        RecipeError: the aligner is missing or fails, or the disk is full.
        FaultsError: recordings are missing, empty, corrupt or of another format, or no utterance
            could be aligned.
    """
    check_numbers(config, WHOLE, REAL, nullable=REAL)
    if "triphones" in config.aligner:
        check_choice("aligner.triphones", config.aligner.triphones, (False, True))
    corpus = Path(config.paths.corpus)
    utterances = read_metadata(corpus / "metadata.csv")
    check_wavs(corpus, utterances)
    language = corpus_language(config.corpus)
    transcripts, lexicon, unaligned = _transcripts(utterances, language)
    if not transcripts:
        raise FaultsError("aligning", unaligned, "No utterance is left to train on.")
    folder = StageFolder(config.paths.alignments, alignment_fingerprint(config))
    grids = folder.folder / "TextGrid"
    if not (folder.is_begun() and grids.exists()):
        aligners.check(config.aligner, transcripts)
    if not folder.begin():
        print(f"stage 2: aligning {len(utterances)} utterances by {config.aligner.name}")
    if not grids.exists():
        recordings = sum((corpus / "wavs" / f"{id}.wav").stat().st_size for id in transcripts)
        run = aligners.ALIGNERS[config.aligner.name]
        with disk_space(folder.folder, recordings - bytes_in(folder.folder)):
            run(config.aligner, corpus / "wavs", transcripts, lexicon, folder.folder)
    spoken: Counter[tuple[str, str]] = Counter()
    for utterance in transcripts:
        path = grids / f"{utterance}.TextGrid"
        try:
            alignment = read_textgrid(path, 0, language.phones)
            waveform = read_wav(corpus / "wavs" / f"{utterance}.wav")
            check_plausible(alignment, waveform, config.corpus.screening)
        except RecipeError as error:
            unaligned.append((utterance, str(error)))
        else:
            spoken.update(_spoken_words(alignment))
    write_reasons(folder.folder / "unaligned.csv", sorted(unaligned))
    aligned = len(utterances) - len(unaligned)
    if not aligned:
        raise FaultsError("aligning", unaligned, "No utterance is left to train on.")
    _write_lexicon(folder.folder / "lexicon.txt", spoken)
    folder.finish()
    print(
        f"stage 2: {aligned} utterances aligned in {folder.folder}, {len(unaligned)} not "
        "(unaligned.csv says why)"
    )


def _transcripts(
    utterances: list[Utterance], language: Language
) -> tuple[dict[str, list[str]], dict[str, list[list[str]]], Reasons]:
    """Words by utterance, pronunciations by word, and utterances that have no pronunciation."""
    transcripts, lexicon, unaligned = {}, {}, []
    for utterance in utterances:
        try:
            words = [token for token in language.tokens(utterance.text) if token != PAUSE]
            new = {word: language.pronunciations(word) for word in words if word not in lexicon}
            lexicon |= new
        except RecipeError as error:
            unaligned.append((utterance.id, str(error)))
        else:
            transcripts[utterance.id] = words
    return transcripts, lexicon, unaligned


def _spoken_words(alignment: Alignment) -> list[tuple[str, str]]:
    """Pairs of a word and the phones that were aligned to it."""
    return [
        (
            word.label,
            " ".join(
                phone.label
                for phone in alignment.phones
                if word.start - 1e-3 <= phone.start < word.end - 1e-3 and phone.label != PAUSE
            ),
        )
        for word in alignment.words
    ]


def _write_lexicon(path: Path, spoken: Mapping[tuple[str, str], int]) -> None:
    """The pronunciations that were used, word by word, the most frequent first."""
    ordered = sorted(spoken.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    with atomic_path(path) as temporary:
        lines = (f"{word}\t{phones}\n" for (word, phones), _ in ordered if phones)
        temporary.write_text("".join(lines), "utf-8")


def check_plausible(alignment: Alignment, waveform: np.ndarray, screening: DictConfig) -> None:
    """Recognise an aligner that was forced to fit a text which was not spoken.

    Args:
        alignment: of the utterance.
        waveform: of its recording, `[samples]`.
        screening: limits, from the corpus's configuration.

    Raises:
        UtteranceError: phones are on average too short or too long for speech, too many are as
            short as the aligner can make them, or there is speech before the first or after the
            last.
    """
    spoken = [phone for phone in alignment.phones if phone.label != PAUSE]
    lengths = np.array([phone.end - phone.start for phone in spoken])
    short = np.mean(lengths < SHORT_PHONE)
    if len(lengths) >= 10 and short > screening.short_phones:
        raise UtteranceError(
            "phone_lengths",
            f"was aligned with {100 * short:.0f} % of its phones as short as they can be: its text "
            "may not be what is said",
        )
    shortest, longest = screening.phone_seconds
    if not shortest <= lengths.mean() <= longest:
        raise UtteranceError(
            "phone_lengths", f"was aligned with phones of {1000 * lengths.mean():.0f} ms on average"
        )
    outside = _sound_outside(waveform, spoken[0].start, spoken[-1].end)
    if outside > screening.sound_outside:
        raise UtteranceError(
            "sound_outside",
            f"has {outside:.2f} s of sound outside its alignment: its text may not be all that is "
            "said",
        )


def _sound_outside(waveform: np.ndarray, start: float, end: float) -> float:
    """Seconds outside start to end that are at most 12 dB quieter than the median inside."""
    hop = SAMPLE_RATE // 100
    blocks = waveform[: len(waveform) // hop * hop].reshape(-1, hop)
    loudness = np.sqrt(np.mean(np.square(blocks), axis=1))
    first, last = (round(seconds * SAMPLE_RATE / hop) for seconds in (start, end))
    outside = np.concatenate([loudness[:first], loudness[last:]])
    return int(np.sum(outside > np.median(loudness[first:last]) / 4)) * hop / SAMPLE_RATE
