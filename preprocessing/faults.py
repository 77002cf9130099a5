"""The kinds of faults that utterances can have, and what is done about them."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import RecipeError
from pipeline.files import write_csv

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
"""Kinds that stop nothing. Utterances with them stay, unless check.leave_out names the kind. Over
a tenth of LJSpeech's published alignments have unknown words."""


class Fault(NamedTuple):
    """What is wrong with one utterance."""

    id: str
    kind: str
    """a key of `KINDS`"""
    reason: str


def serious(faults: Iterable[Fault], leave_out: Iterable[str]) -> list[Fault]:
    """The faults whose utterances cannot stay: all but those of tolerated kinds."""
    tolerated = TOLERATED.difference(leave_out)
    return [fault for fault in faults if fault.kind not in tolerated]


def refuse(faults: Iterable[Fault], leave_out: Iterable[str]) -> Counter[str]:
    """Refuse to go on, unless the utterances with faults may be left out.

    Args:
        faults: of the whole corpus.
        leave_out: the kinds of faults whose utterances may be left out.

    Returns:
        The number of utterances to leave out, by the kind of their first fault.

    Raises:
        RecipeError: there are faults of other kinds.
    """
    faults, leave_out = serious(faults, leave_out), set(leave_out)
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
        tolerated = "no, tolerated" if kind in TOLERATED else "no"
        left_out = "yes" if kind in leave_out else tolerated
        table.add_row(kind, str(counts[kind]), KINDS[kind], left_out)
    console = Console(soft_wrap=True)
    if faults:
        console.print(table)
    for kind in (kind for kind in KINDS if counts[kind]):
        some = [fault for fault in faults if fault.kind == kind][:10]
        console.print(f"{kind}: {counts[kind]}", markup=False, highlight=False)
        for fault in some:
            console.print(f"  {fault.id}: {fault.reason}", markup=False, highlight=False)
    counted = serious(faults, leave_out)
    faulty = len({fault.id for fault in counted})
    console.print(
        f"{utterances} utterances, {faulty} of them with {len(counted)} faults", highlight=False
    )


def write_faults(path: Path | str, faults: Iterable[Fault]) -> None:
    """Write all faults to a CSV table, `id,kind,reason`."""
    write_csv(path, Fault._fields, (fault._asdict() for fault in faults))
