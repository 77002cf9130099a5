"""The pre-flight check of every utterance's recording, text and alignment.

`make check` lists all faults. Stage 3 runs the same check, and goes on only if `check.leave_out`
names the kinds of all the faults that are there.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

from audio.constants import HOP, SAMPLE_RATE
from audio.wav import read_wav
from pipeline.errors import RecipeError, UtteranceError
from pipeline.parallel import parallel_map
from pipeline.progress import progress
from preprocessing.alignment.parsed import TextGrids
from preprocessing.alignment.plausibility import check_plausible
from preprocessing.alignment.segments import cut_segments
from preprocessing.alignment.textgrid import Alignment
from preprocessing.corpus.metadata import Utterance, parse_metadata, read_reasons
from preprocessing.faults import Fault, print_faults, refuse, serious, write_faults
from preprocessing.levels import Levels, measure_levels, unusual_levels
from preprocessing.settings import (
    CheckSettings,
    CorpusSettings,
    PreprocessingSettings,
    ScreeningSettings,
)
from preprocessing.text.language import Language, corpus_language
from preprocessing.text.phones import PAUSE

UTTERANCES_IN_CHUNK = 64
LOWEST_WORD_MATCH = 0.5
"""Below this difflib ratio, the words of a text and of its TextGrid are two different sentences.

It is low because dictionaries differ in how they split hyphenated words and write numbers."""
MOST_PAUSES = 0.5
"""Pauses may take up this fraction of the time from the first phone to the last."""


def check_corpus(config: PreprocessingSettings) -> tuple[list[Utterance], list[Fault]]:
    """Find all faults of a corpus and its alignments.

    Returns:
        The utterances of `metadata.csv`, and the faults.

    Raises:
        RecipeError: there is no corpus, or no TextGrid at all.
    """
    metadata = Path(config.paths.corpus) / "metadata.csv"
    alignments = Path(config.paths.alignments)
    for path, command in ((metadata, "make stage1"), (alignments / "TextGrid", "make stage2")):
        if not path.exists():
            raise RecipeError(f"{path} is not there: run `{command}`")
    utterances, errors = parse_metadata(metadata)
    faults = [Fault(id, error.kind, str(error)) for id, error in errors]
    parts = [
        utterances[i : i + UTTERANCES_IN_CHUNK]
        for i in range(0, len(utterances), UTTERANCES_IN_CHUNK)
    ]
    wavs, grids = metadata.parent.absolute() / "wavs", TextGrids.load(alignments.absolute())
    corpus_language(
        config.corpus.language
    )  # Tells faults of the language before those of utterances.
    tasks = [
        (part, wavs, grids.part(each.id for each in part), config.check, config.corpus)
        for part in parts
    ]
    levels: dict[str, Levels] = {}
    with progress("checking", max(len(parts), 1)) as show:
        for done, (found, some) in enumerate(parallel_map(_check_some, tasks, config.parallel), 1):
            faults += found
            levels |= some
            show(done)
    faults += [Fault(id, error.kind, str(error)) for id, error in unusual_levels(levels)]
    faulty = {fault.id for fault in serious(faults, config.check.leave_out)}
    if (alignments / "unaligned.csv").exists():
        unaligned = read_reasons(alignments / "unaligned.csv")
        faults += [Fault(id, "unaligned", reason) for id, reason in unaligned if id not in faulty]
    return utterances, faults


def _check_some(
    utterances: list[Utterance],
    wavs: Path,
    grids: TextGrids,
    limits: CheckSettings,
    corpus: CorpusSettings,
) -> tuple[list[Fault], dict[str, Levels]]:
    """The faults of some utterances, and the levels of their recordings by id."""
    language, faults, levels = corpus_language(corpus.language), [], {}
    for utterance in utterances:
        errors, measured = _check_utterance(
            utterance, wavs, grids, limits, corpus.screening, language
        )
        faults += [Fault(utterance.id, error.kind, str(error)) for error in errors]
        if measured is not None:
            levels[utterance.id] = measured
    return faults, levels


def _check_utterance(
    utterance: Utterance,
    wavs: Path,
    grids: TextGrids,
    limits: CheckSettings,
    screening: ScreeningSettings,
    language: Language,
) -> tuple[list[UtteranceError], Levels | None]:
    """All faults of one utterance, except an empty text, which `parse_metadata` finds; and the
    levels of its recording, if it can be read."""
    faults: list[UtteranceError] = []
    words, waveform, alignment, levels = None, None, None, None
    try:
        if utterance.text.strip():
            words = [token for token in language.tokens(utterance.text) if token != PAUSE]
    except RecipeError as error:
        faults.append(UtteranceError("text_characters", str(error)))
    try:
        waveform = read_wav(wavs / f"{utterance.id}.wav")
        levels = measure_levels(waveform)
        _check_length(waveform, limits.seconds)
    except UtteranceError as error:
        faults.append(error)
    try:
        alignment = grids.alignment(utterance.id, language.phones)
        _check_pauses(alignment, limits.longest_pause)
        if words and alignment.words:
            _check_words(words, [word.label for word in alignment.words])
        _check_known(alignment)
    except UtteranceError as error:
        faults.append(error)
    if waveform is not None and alignment is not None:
        try:
            cut_segments(alignment, len(waveform) // HOP)
            check_plausible(alignment, waveform, screening)
        except UtteranceError as error:
            faults.append(error)
    return faults, levels


def _check_length(waveform: np.ndarray, limits: Sequence[float]) -> None:
    shortest, longest = limits
    seconds = len(waveform) / SAMPLE_RATE
    if not shortest <= seconds <= longest:
        raise UtteranceError(
            "wav_length", f"lasts {seconds:.2f} s where {shortest} to {longest} s are expected"
        )


def _check_pauses(alignment: Alignment, longest: float) -> None:
    pauses = [phone for phone in alignment.phones if phone.label == PAUSE]
    lengths = [pause.end - pause.start for pause in pauses]
    if lengths and max(lengths) > longest:
        start = pauses[int(np.argmax(lengths))].start
        raise UtteranceError("silences", f"has a pause of {max(lengths):.2f} s at {start:.2f} s")
    fraction = sum(lengths) / (alignment.phones[-1].end - alignment.phones[0].start)
    if fraction > MOST_PAUSES:
        raise UtteranceError("silences", f"has pauses for {100 * fraction:.0f} % of its time")


def _check_words(text: list[str], aligned: list[str]) -> None:
    aligned = [word.lower() for word in aligned]
    text = [word.lower() for word in text]
    if SequenceMatcher(None, text, aligned, autojunk=False).ratio() < LOWEST_WORD_MATCH:
        raise UtteranceError(
            "words_differ",
            f"has a TextGrid of '{_beginning(aligned)}' where its text is '{_beginning(text)}'",
        )


def _check_known(alignment: Alignment) -> None:
    if not alignment.unknown:
        return
    words = [
        word.label
        for word in alignment.words
        if any(word.start - 1e-3 <= start < word.end - 1e-3 for start in alignment.unknown)
    ]
    found = f": {', '.join(words)}" if words else ""
    raise UtteranceError("words_unknown", f"has words that the aligner did not know{found}")


def _beginning(words: list[str]) -> str:
    return " ".join(words[:6]) + (" ..." if len(words) > 6 else "")


def report_faults(config: PreprocessingSettings) -> None:
    """Print the faults of a corpus and write all of them to faults.csv in `config.paths.data`.

    Raises:
        RecipeError: some faults are of kinds that `check.leave_out` does not name.
    """
    utterances, faults = check_corpus(config)
    print_faults(len(utterances), faults, config.check.leave_out)
    table = Path(config.paths.data) / "faults.csv"
    write_faults(table, faults)
    print(f"all faults: {table}")
    refuse(faults, config.check.leave_out)
