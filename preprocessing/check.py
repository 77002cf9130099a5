"""The pre-flight check of every utterance's recording, text and alignment.

`make check` lists all faults. Stage 3 runs the same check, and goes on only if `check.leave_out`
names the kinds of all the faults that are there.
"""

from collections import Counter
from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

import numpy as np
from omegaconf import DictConfig

from audio.constants import HOP, SAMPLE_RATE
from audio.wav import read_wav
from pipeline.errors import RecipeError, UtteranceError
from pipeline.files import write_csv
from pipeline.parallel import parallel_map
from pipeline.progress import progress
from preprocessing.alignment.parsed import TextGrids
from preprocessing.alignment.plausibility import check_plausible
from preprocessing.alignment.segments import cut_segments
from preprocessing.alignment.textgrid import Alignment
from preprocessing.corpus.metadata import Utterance, parse_metadata, read_reasons
from preprocessing.levels import Levels, measure_levels, unusual_levels
from preprocessing.text.language import Language, corpus_language
from preprocessing.text.phones import PAUSE

KINDS = {
    "metadata_line": "a line of metadata.csv is not id|text|normalised text, or id|text",
    "id_repeated": "metadata.csv has an id twice",
    "text_missing": "no text",
    "text_characters": "a character that cannot be pronounced",
    "wav_missing": "no recording",
    "wav_unreadable": "a recording that is damaged or not audio",
    "wav_empty": "a recording without samples",
    "wav_rate": "another sample rate",
    "wav_channels": "more than one channel",
    "wav_length": "a recording shorter or longer than check.seconds",
    "wav_scale": "samples far beyond full scale",
    "wav_level": "a recording far louder or quieter than the corpus",
    "wav_offset": "a recording with a constant part (DC), unlike the corpus",
    "wav_clipped": "a clipped recording, unlike the corpus",
    "textgrid_missing": "no TextGrid",
    "textgrid_unreadable": "a TextGrid that is damaged, or has no tier of phones or two speakers",
    "phones_missing": "a TextGrid without a phone",
    "phones_unknown": "phones that are not ARPAbet, or not in the corpus's list",
    "frames_differ": "phones that overlap, leave gaps or end after the recording",
    "words_differ": "a TextGrid of other words than the text",
    "silences": "a pause longer than check.longest_pause, or pauses most of the time",
    "phone_lengths": "phones too short or too long for speech",
    "sound_outside": "sound before the first phone or after the last",
    "unaligned": "left out by stage 2",
    "features": "no voiced frame, or a segment of hardly any frames; found by stage 3",
    "words_unknown": "words that the aligner did not know, trained as the phone spn",
}
"""What each kind of fault means."""
TOLERATED = frozenset({"words_unknown"})
"""Kinds that are only reported. Published alignments have them: over a tenth of LJSpeech's."""

UTTERANCES_IN_CHUNK = 64
LOWEST_WORD_MATCH = 0.5
"""Below this difflib ratio, the words of a text and of its TextGrid are two different sentences.

It is low because dictionaries differ in how they split hyphenated words and write numbers."""
MOST_PAUSES = 0.5
"""Pauses may take up this fraction of the time from the first phone to the last."""


class Fault(NamedTuple):
    """What is wrong with one utterance."""

    id: str
    kind: str
    """a key of `KINDS`"""
    reason: str


def check_corpus(config: DictConfig) -> tuple[list[Utterance], list[Fault]]:
    """Find all faults of a corpus and its alignments.

    Returns:
        The utterances of `metadata.csv`, and the faults in the same order.

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
    corpus_language(config.corpus)  # Tells faults of the language before those of utterances.
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
    faulty = {fault.id for fault in serious(faults)}
    if (alignments / "unaligned.csv").exists():
        unaligned = read_reasons(alignments / "unaligned.csv")
        faults += [Fault(id, "unaligned", reason) for id, reason in unaligned if id not in faulty]
    return utterances, faults


def serious(faults: Iterable[Fault]) -> list[Fault]:
    """The faults that are not of a tolerated kind."""
    return [fault for fault in faults if fault.kind not in TOLERATED]


def _check_some(
    utterances: list[Utterance],
    wavs: Path,
    grids: TextGrids,
    limits: DictConfig,
    corpus: DictConfig,
) -> tuple[list[Fault], dict[str, Levels]]:
    """The faults of some utterances, and the levels of their recordings by id."""
    language, faults, levels = corpus_language(corpus), [], {}
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
    limits: DictConfig,
    screening: DictConfig,
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


def _check_length(waveform: np.ndarray, limits: tuple[float, float]) -> None:
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


def refuse(faults: Iterable[Fault], leave_out: Iterable[str]) -> Counter[str]:
    """Refuse to go on, unless the utterances with faults may be left out.

    Args:
        faults: of the whole corpus.
        leave_out: the kinds of faults whose utterances may be left out.

    Returns:
        The number of utterances to leave out, by the kind of their first fault.

    Raises:
        RecipeError: there are faults of other kinds, or `leave_out` names an unknown kind.
    """
    faults, leave_out = serious(faults), set(leave_out)
    if unknown := sorted(leave_out - KINDS.keys()):
        raise RecipeError(
            f"check.leave_out names {', '.join(unknown)}: choose among {', '.join(KINDS)}"
        )
    refused = [fault for fault in faults if fault.kind not in leave_out]
    if refused:
        counts = Counter(fault.kind for fault in refused)
        lines = [f"the corpus has {len(refused)} fault{'s' if len(refused) > 1 else ''}:"]
        for kind, count in counts.most_common():
            first = next(fault for fault in refused if fault.kind == kind)
            lines.append(f"  {count} {kind}, such as {first.id}: {first.reason}")
        kinds = ",".join(sorted(leave_out | counts.keys()))
        lines.append(
            "`make check` lists them all. Mend them, or leave these utterances out with "
            f"ARGS='check.leave_out=[{kinds}]'"
        )
        raise RecipeError("\n".join(lines))
    firsts = {fault.id: fault.kind for fault in reversed(faults)}
    return Counter(firsts.values())


def print_faults(utterances: int, faults: list[Fault], leave_out: Iterable[str]) -> None:
    """Print a table of counts by kind, and the first ten faults of each kind."""
    from rich.console import Console
    from rich.table import Table

    counts = Counter(fault.kind for fault in faults)
    table = Table("kind", "faults", "meaning", "left out")
    for kind in (kind for kind in KINDS if counts[kind]):
        left_out = "never" if kind in TOLERATED else "yes" if kind in leave_out else "no"
        table.add_row(kind, str(counts[kind]), KINDS[kind], left_out)
    console = Console(soft_wrap=True)
    if faults:
        console.print(table)
    for kind in (kind for kind in KINDS if counts[kind]):
        some = [fault for fault in faults if fault.kind == kind][:10]
        console.print(f"{kind}: {counts[kind]}", markup=False, highlight=False)
        for fault in some:
            console.print(f"  {fault.id}: {fault.reason}", markup=False, highlight=False)
    counted = serious(faults)
    faulty = len({fault.id for fault in counted})
    console.print(
        f"{utterances} utterances, {faulty} of them with {len(counted)} faults", highlight=False
    )


def write_faults(path: Path | str, faults: Iterable[Fault]) -> None:
    """Write all faults to a CSV table, `id,kind,reason`."""
    write_csv(path, Fault._fields, (fault._asdict() for fault in faults))


def report_faults(config: DictConfig) -> None:
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
