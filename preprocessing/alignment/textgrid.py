"""Alignments read from TextGrid files: phones, words and silences, with their times."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import UtteranceError
from preprocessing.alignment.praat import read_interval_tiers
from preprocessing.text.characters import INVISIBLE
from preprocessing.text.phones import ARPABET, PAUSE, SILENCES, UNKNOWN, VOWELS

_INVISIBLE = str.maketrans("", "", INVISIBLE)
_STOPS = frozenset("B CH D G JH K P T".split())
_GAP = 1e-3
"""Neighbouring phones may be this many seconds apart, since aligners round their times."""


class Interval(NamedTuple):
    """A labelled stretch of a recording."""

    start: float
    """seconds"""
    end: float
    """seconds"""
    label: str


Tiers = Mapping[str, list[Interval]]
"""The tiers `phones` and `words` of a TextGrid, or `phones` alone."""


@dataclass(frozen=True)
class Alignment:
    """One utterance's phones, without gaps from the first to the last, and its words."""

    phones: list[Interval]
    """`sp` for each silence inside the utterance; silences at both ends are left out"""
    words: list[Interval]
    """empty if the aligner wrote no words"""
    unknown: tuple[float, ...] = ()
    """When each `spn` begins, in seconds: MFA's phone for a word that its dictionary lacks."""

    def pronunciations(self) -> list[tuple[str, list[str]]]:
        """Each word with its phones, without pauses."""
        return [
            (
                word.label,
                [
                    phone.label
                    for phone in self.phones
                    if word.start - _GAP <= phone.start < word.end - _GAP and phone.label != PAUSE
                ],
            )
            for word in self.words
        ]


def read_textgrid(path: Path, known: frozenset[str] = ARPABET) -> Alignment:
    """Read an alignment; see `parse_textgrid` and `alignment_of`, whose faults it raises."""
    return alignment_of(parse_textgrid(path), known)


def parse_textgrid(path: Path) -> Tiers:
    """Read the tiers `phones` and `words` of a TextGrid written by MFA 1 to 3, viter or ming024.

    Where MFA knows the speaker, it writes the speaker's name and ` - ` before the tier's name. Only
    one of several speakers may speak. Other tiers are ignored. White space around a label, line
    ends and invisible characters in it mean nothing.

    Raises:
        UtteranceError: the file is missing or is not a TextGrid, it has no tier of phones, or two
            speakers speak.
    """
    try:
        tiers = read_interval_tiers(path)
    except FileNotFoundError as error:
        raise UtteranceError(
            "textgrid_missing", "has no TextGrid: the aligner did not find an alignment"
        ) from error
    except ValueError as error:
        raise UtteranceError(
            "textgrid_unreadable", f"has a TextGrid that cannot be read ({error})"
        ) from error
    found: dict[str, list[Interval]] = {}
    for full_name, rows in tiers:
        name = full_name.rpartition(" - ")[2].strip()
        intervals = [Interval(start, end, _tidy(label)) for start, end, label in rows]
        if not _has_speech(found.get(name, [])):
            found[name] = intervals
        elif name in ("phones", "words") and _has_speech(intervals):
            raise UtteranceError(
                "textgrid_unreadable", f"has a TextGrid with the {name} of two speakers"
            )
    if "phones" not in found:
        names = ", ".join(f"'{name}'" for name in found) or "none"
        raise UtteranceError(
            "textgrid_unreadable", f"has a TextGrid without the tier 'phones' (it has {names})"
        )
    return {name: found[name] for name in ("phones", "words") if name in found}


def _tidy(label: str) -> str:
    return " ".join(label.translate(_INVISIBLE).split())


def _has_speech(intervals: list[Interval]) -> bool:
    return any(interval.label not in SILENCES for interval in intervals)


def alignment_of(tiers: Tiers, known: frozenset[str] = ARPABET) -> Alignment:
    """Check the phones of a parsed TextGrid, and tidy its silences.

    A silence is `sil`, `sp`, `<eps>` or, in MFA 2 and 3, an empty label. It becomes `sp` inside the
    utterance. At both ends silences and `spn` are left out (ming024/FastSpeech2).

    Args:
        tiers: from `parse_textgrid`.
        known: the phones that are allowed besides silences.

    Raises:
        UtteranceError: there is no phone, a phone is unknown, ARPAbet has stress on only some of
            the vowels, or phones overlap or leave gaps.
    """
    phones: list[Interval] = []
    for start, end, label in tiers["phones"]:
        label = PAUSE if label in SILENCES else label
        if phones and phones[-1].label == label == PAUSE:
            start = phones.pop().start
        phones.append(Interval(start, end, label))
    unknown = tuple(phone.start for phone in phones if phone.label == UNKNOWN)
    while phones and phones[0].label in {PAUSE, UNKNOWN}:
        phones = phones[1:]
    while phones and phones[-1].label in {PAUSE, UNKNOWN}:
        phones = phones[:-1]
    if not phones:
        raise UtteranceError("phones_missing", "has a TextGrid without a phone")
    _check(phones, known)
    words = [word for word in tiers.get("words", []) if word.label not in SILENCES]
    return Alignment(phones, words, unknown)


def _check(phones: list[Interval], known: frozenset[str]) -> None:
    labels = {phone.label for phone in phones} - {PAUSE, UNKNOWN}
    if unknown := sorted(labels - known):
        which = "ARPAbet" if known == ARPABET else "the corpus's"
        raise UtteranceError(
            "phones_unknown", f"has phones that are not {which}: {', '.join(unknown)}"
        )
    vowels = sorted(label for label in labels if label.rstrip("012") in VOWELS)
    unstressed = [vowel for vowel in vowels if vowel in VOWELS]
    if known == ARPABET and unstressed and unstressed != vowels:
        raise UtteranceError(
            "phones_unknown", f"has stress on some vowels but not on {', '.join(unstressed)}"
        )
    if any(abs(after.start - before.end) > _GAP for before, after in pairwise(phones)):
        raise UtteranceError("frames_differ", "has a TextGrid whose phones overlap or leave gaps")


def without_short_pauses(alignment: Alignment, shortest: float) -> Alignment:
    """Give each pause shorter than `shortest` seconds to one of its neighbours.

    A stop that follows takes it, since the pause is the stop's closure. Otherwise the phone before
    the pause takes it.
    """
    kept: list[Interval] = []
    start = None
    for i, phone in enumerate(alignment.phones):
        if phone.label == PAUSE and phone.end - phone.start < shortest:
            if alignment.phones[i + 1].label in _STOPS:
                start = phone.start
            else:
                kept[-1] = kept[-1]._replace(end=phone.end)
            continue
        kept.append(phone if start is None else phone._replace(start=start))
        start = None
    return replace(alignment, phones=kept)
