"""TextGrids of forced alignment: their phones, their silences, and durations in frames."""

import codecs
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pipeline.errors import UtteranceError
from preprocessing.text.phones import ARPABET, PAUSE, SILENCES, UNKNOWN, VOWELS

_TIERS = ("phones", "words")
_STOPS = frozenset("B CH D G JH K P T".split())


@dataclass(frozen=True)
class Interval:
    """A labelled stretch of a recording, in seconds."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Alignment:
    """One utterance's phones, without a gap from first to last, and its words."""

    phones: list[Interval]
    """`sp` for silences inside; none at either end"""
    words: list[Interval]


def read_textgrid(
    path: Path | str, shortest_pause: float, known: frozenset[str] = ARPABET
) -> Alignment:
    """Read an alignment written by MFA 1 to 3, viter or ming024's recipe.

    Its tiers are `phones` and, if it is there, `words`; MFA puts a speaker's name and ` - ` before
    these where it knows one, of whom only one may speak. Other tiers are ignored. The file may be
    in Praat's long or short format, in UTF-8 or, as Praat itself writes it, UTF-16.

    Silence is `sil`, `sp`, `<eps>` or, in MFA 2 and 3, an empty label. It becomes `sp` inside the
    utterance and is left out at both ends, as is `spn` there (ming024/FastSpeech2).

    Args:
        path: of the TextGrid.
        shortest_pause: seconds; a shorter silence inside goes to a stop that follows it, whose
            closure it then is, and otherwise to the phone before it.
        known: phones that may be there beside silences.

    Raises:
        UtteranceError: no such file, not a TextGrid, no tier or none of its phones, two speakers,
            unknown phones, in ARPAbet stress on some vowels only, gaps or overlaps.
    """
    tiers = _read_tiers(Path(path))
    if "phones" not in tiers:
        found = ", ".join(f"'{name}'" for name in tiers) or "none"
        raise UtteranceError(
            "textgrid_unreadable", f"has a TextGrid without the tier 'phones' (it has {found})"
        )
    phones = _joined_silences([_as_symbol(interval) for interval in tiers["phones"]])
    while phones and phones[0].label in {PAUSE, UNKNOWN}:
        phones = phones[1:]
    while phones and phones[-1].label in {PAUSE, UNKNOWN}:
        phones = phones[:-1]
    if not phones:
        raise UtteranceError("phones_missing", "has a TextGrid without a phone")
    _check(phones, known)
    spoken = [word for word in tiers.get("words", []) if word.label not in SILENCES]
    return Alignment(_without_short_pauses(phones, shortest_pause), spoken)


def _read_tiers(path: Path) -> dict[str, list[Interval]]:
    """Interval tiers by name, without a speaker's name before it; of two alike, the one in use.

    Raises:
        UtteranceError: no such file, not a TextGrid, or two speakers' phones or words.
    """
    import tgt

    try:
        with path.open("rb") as file:
            is_utf16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        grid = tgt.io.read_textgrid(
            str(path), encoding="utf-16" if is_utf16 else "utf-8-sig", include_empty_intervals=True
        )
        tiers = [
            (
                tier.name.rpartition(" - ")[2].strip(),
                [Interval(float(i.start_time), float(i.end_time), i.text.strip()) for i in tier],
            )
            for tier in grid.tiers
            if isinstance(tier, tgt.IntervalTier)
        ]
    except FileNotFoundError as error:
        raise UtteranceError(
            "textgrid_missing", "has no TextGrid: the aligner did not find an alignment"
        ) from error
    except Exception as error:  # tgt raises bare Exceptions and whatever its parser stumbles on
        raise UtteranceError(
            "textgrid_unreadable", f"has a TextGrid that cannot be read ({error})"
        ) from error
    used: dict[str, list[Interval]] = {}
    for name, rows in tiers:
        if not _is_spoken(used.get(name, [])):
            used[name] = rows
        elif name in _TIERS and _is_spoken(rows):
            raise UtteranceError(
                "textgrid_unreadable", f"has a TextGrid with the {name} of two speakers"
            )
    return used


def _is_spoken(intervals: list[Interval]) -> bool:
    return any(interval.label not in SILENCES for interval in intervals)


def _as_symbol(interval: Interval) -> Interval:
    label = PAUSE if interval.label in SILENCES else interval.label
    return Interval(interval.start, interval.end, label)


def _joined_silences(phones: list[Interval]) -> list[Interval]:
    joined: list[Interval] = []
    for phone in phones:
        if joined and joined[-1].label == phone.label == PAUSE:
            phone = Interval(joined.pop().start, phone.end, PAUSE)
        joined.append(phone)
    return joined


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
    if any(abs(after.start - before.end) > 1e-3 for before, after in pairwise(phones)):
        raise UtteranceError("frames_differ", "has a TextGrid whose phones overlap or leave gaps")


def _without_short_pauses(phones: list[Interval], shortest: float) -> list[Interval]:
    kept: list[Interval] = []
    start = None
    for i, phone in enumerate(phones):
        if phone.label == PAUSE and phone.end - phone.start < shortest:
            if phones[i + 1].label in _STOPS:
                start = phone.start
            else:
                kept[-1] = Interval(kept[-1].start, phone.end, kept[-1].label)
            continue
        kept.append(Interval(phone.start if start is None else start, phone.end, phone.label))
        start = None
    return kept
