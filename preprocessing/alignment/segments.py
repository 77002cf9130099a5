"""Cuts an alignment into segments, and counts the frames of each phone."""

from dataclasses import dataclass
from itertools import pairwise

from audio.constants import FRAME_RATE
from pipeline.errors import UtteranceError
from preprocessing.alignment.textgrid import Alignment, Interval
from preprocessing.text.phones import PAUSE, SILENCE
from preprocessing.text.punctuation import MARKS

PAUSES = frozenset({PAUSE, SILENCE}) | MARKS
"""Labels of silences inside an utterance."""


@dataclass(frozen=True)
class AlignedSegment:
    """A stretch of an utterance between two pauses, or the whole utterance."""

    phones: list[str]
    durations: list[int]
    """frames of each phone"""
    start: int
    """its first frame in the recording"""
    words: list[str]


def cut_segments(
    alignment: Alignment, frames: int, max_seconds: float | None = None
) -> list[AlignedSegment]:
    """Cut an utterance at pauses into segments of at most `max_seconds` each, and count frames.

    A phone lasts round(end · frame rate) − round(start · frame rate) frames (ming024/FastSpeech2),
    so that rounding errors do not add up. The longest pauses are cut first. A stretch without a
    pause stays whole, however long it is. So does an utterance whose words the aligner did not
    write, since nothing tells which words a part of it holds. The pauses at the cuts belong to no
    segment.

    Args:
        alignment: of the utterance.
        frames: whole frames of its recording. The alignment may end one frame later.
        max_seconds: None leaves every utterance whole.

    Raises:
        UtteranceError: the alignment ends after the recording.
    """
    bounds = [round(phone.start * FRAME_RATE) for phone in alignment.phones]
    bounds.append(round(alignment.phones[-1].end * FRAME_RATE))
    if bounds[-1] > frames + 1:
        raise UtteranceError(
            "frames_differ",
            f"has an alignment up to {alignment.phones[-1].end:.3f} s, but its recording ends at "
            f"{frames / FRAME_RATE:.3f} s",
        )
    bounds = [min(bound, frames) for bound in bounds]
    limit = int(max_seconds * FRAME_RATE) if max_seconds and alignment.words else None
    cut = []
    for first, last in _pieces(alignment.phones, bounds, 0, len(alignment.phones), limit):
        begin, end = alignment.phones[first].start, alignment.phones[last - 1].end
        cut.append(
            AlignedSegment(
                phones=[phone.label for phone in alignment.phones[first:last]],
                durations=[b - a for a, b in pairwise(bounds[first : last + 1])],
                start=bounds[first],
                words=[w.label for w in alignment.words if begin - 1e-3 <= w.start < end - 1e-3],
            )
        )
    return cut


def _pieces(
    phones: list[Interval], bounds: list[int], first: int, last: int, limit: int | None
) -> list[tuple[int, int]]:
    """Ranges of phones, each cut at its longest pause until it has at most `limit` frames."""
    pauses = [i for i in range(first + 1, last - 1) if phones[i].label in PAUSES]
    if limit is None or bounds[last] - bounds[first] <= limit or not pauses:
        return [(first, last)]
    longest = max(pauses, key=lambda i: bounds[i + 1] - bounds[i])
    return [
        *_pieces(phones, bounds, first, longest, limit),
        *_pieces(phones, bounds, longest + 1, last, limit),
    ]
