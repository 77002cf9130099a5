"""The pre-flight: every utterance's recording, text and alignment, before hours are spent on them.

`make check` lists all faults; stage 3 runs the same check and refuses to go on with faults of a
kind that `check.leave_out` does not name.
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
from pipeline.parallel import spread
from pipeline.progress import progress
from preprocessing.alignment.plausibility import check_plausible
from preprocessing.alignment.segments import segments
from preprocessing.alignment.textgrid import Alignment, read_textgrid
from preprocessing.corpus.metadata import Utterance, parse_metadata, read_reasons
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
    "textgrid_missing": "no TextGrid",
    "textgrid_unreadable": "a TextGrid that is damaged or has no tier of phones",
    "phones_missing": "a TextGrid without a phone",
    "phones_unknown": "phones that are not ARPAbet, or the corpus's",
    "frames_differ": "phones that do not cover the recording's frames one by one",
    "words_differ": "a TextGrid of other words than the text's",
    "silences": "a pause longer than check.longest_pause, or pauses for most of the time",
    "phone_lengths": "phones too short or too long for speech",
    "sound_outside": "sound before the first phone or after the last",
    "unaligned": "left out by stage 2",
    "features": "no voiced frame, or a segment of hardly any frames; stage 3 finds these",
}
"""What each kind of fault means."""

UTTERANCES_IN_CHUNK = 64
LOWEST_WORD_MATCH = 0.5
"""difflib's ratio of a text's words and its TextGrid's, below which they are of two sentences.
Dictionaries differ in how they cut hyphens and write numbers, hence so low."""
MOST_PAUSES = 0.5
"""greatest share of pauses in the time from the first phone to the last"""


class Fault(NamedTuple):
    """What is wrong with one utterance."""

    id: str
    kind: str
    """a key of `KINDS`"""
    reason: str


def check_corpus(config: DictConfig) -> tuple[list[Utterance], list[Fault]]:
    """Utterances of `metadata.csv`, and all faults of the corpus and its alignments, in order.

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
    wavs, grids = metadata.parent.absolute() / "wavs", alignments.absolute() / "TextGrid"
    corpus_language(config.corpus)  # whose faults are told before all others
    tasks = [(part, wavs, grids, config.check, config.corpus) for part in parts]
    with progress("checking", max(len(parts), 1)) as show:
        for done, found in enumerate(spread(_check_some, tasks, config.parallel), 1):
            faults += found
            show(done)
    faulty = {fault.id for fault in faults}
    if (alignments / "unaligned.csv").exists():
        unaligned = read_reasons(alignments / "unaligned.csv")
        faults += [Fault(id, "unaligned", reason) for id, reason in unaligned if id not in faulty]
    return utterances, faults


def _check_some(
    utterances: list[Utterance], wavs: Path, grids: Path, limits: DictConfig, corpus: DictConfig
) -> list[Fault]:
    language = corpus_language(corpus)
    return [
        Fault(utterance.id, error.kind, str(error))
        for utterance in utterances
        for error in check_utterance(
            utterance,
            wavs / f"{utterance.id}.wav",
            grids / f"{utterance.id}.TextGrid",
            limits,
            corpus.screening,
            language,
        )
    ]


def check_utterance(
    utterance: Utterance,
    wav: Path,
    textgrid: Path,
    limits: DictConfig,
    screening: DictConfig,
    language: Language,
) -> list[UtteranceError]:
    """All that is wrong with one utterance.

    Args:
        utterance: its text; an empty one is `parse_metadata`'s to tell.
        wav: its recording.
        textgrid: its alignment.
        limits: `check` of the configuration.
        screening: of the corpus's configuration.
        language: of the corpus.
    """
    faults: list[UtteranceError] = []
    words, waveform, alignment = None, None, None
    try:
        if utterance.text.strip():
            words = [token for token in language.tokens(utterance.text) if token != PAUSE]
    except RecipeError as error:
        faults.append(UtteranceError("text_characters", str(error)))
    try:
        waveform = read_wav(wav)
        _check_length(waveform, limits.seconds)
    except UtteranceError as error:
        faults.append(error)
    try:
        alignment = read_textgrid(textgrid, 0, language.phones)
        _check_pauses(alignment, limits.longest_pause)
        if words and alignment.words:
            _check_words(words, [word.label for word in alignment.words])
    except UtteranceError as error:
        faults.append(error)
    if waveform is not None and alignment is not None:
        try:
            segments(alignment, len(waveform) // HOP, SAMPLE_RATE / HOP, None)
            check_plausible(alignment, waveform, screening)
        except UtteranceError as error:
            faults.append(error)
    return faults


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
    share = sum(lengths) / (alignment.phones[-1].end - alignment.phones[0].start)
    if share > MOST_PAUSES:
        raise UtteranceError("silences", f"has pauses for {100 * share:.0f} % of its time")


def _check_words(text: list[str], aligned: list[str]) -> None:
    aligned = [word.lower() for word in aligned]
    text = [word.lower() for word in text]
    if SequenceMatcher(None, text, aligned, autojunk=False).ratio() < LOWEST_WORD_MATCH:
        raise UtteranceError(
            "words_differ",
            f"has a TextGrid of '{_beginning(aligned)}' where its text is '{_beginning(text)}'",
        )


def _beginning(words: list[str]) -> str:
    return " ".join(words[:6]) + (" ..." if len(words) > 6 else "")


def refuse(faults: Iterable[Fault], leave_out: Iterable[str]) -> Counter[str]:
    """Utterances to leave out by the kind of their first fault, if all faults are of such kinds.

    Raises:
        RecipeError: there are faults of other kinds, or `leave_out` names a kind that is none.
    """
    faults, leave_out = list(faults), set(leave_out)
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
    """A table of counts by kind, and the first ten faults of each."""
    from rich.console import Console
    from rich.table import Table

    counts = Counter(fault.kind for fault in faults)
    table = Table("kind", "faults", "meaning", "left out")
    for kind in (kind for kind in KINDS if counts[kind]):
        table.add_row(kind, str(counts[kind]), KINDS[kind], "yes" if kind in leave_out else "no")
    console = Console(soft_wrap=True)
    if faults:
        console.print(table)
    for kind in (kind for kind in KINDS if counts[kind]):
        some = [fault for fault in faults if fault.kind == kind][:10]
        console.print(f"{kind}: {counts[kind]}", markup=False, highlight=False)
        for fault in some:
            console.print(f"  {fault.id}: {fault.reason}", markup=False, highlight=False)
    faulty = len({fault.id for fault in faults})
    console.print(
        f"{utterances} utterances, {faulty} of them with {len(faults)} faults", highlight=False
    )


def write_faults(path: Path | str, faults: Iterable[Fault]) -> None:
    """All faults in a CSV table: `id,kind,reason`."""
    write_csv(path, Fault._fields, (fault._asdict() for fault in faults))
