"""Silences and punctuation as ESPnet's recipe with MFA has them (pyscripts/utils/mfa_format.py)."""

from dataclasses import replace

import numpy as np

from preprocessing.alignment.textgrid import Alignment, Interval
from preprocessing.text.phones import PAUSE
from preprocessing.text.punctuation import MARKS, marks_around, pause_symbols


def with_punctuation(alignment: Alignment, text: str, seconds: float) -> Alignment:
    """Turn pauses into punctuation or `sil`, and keep the silences at both ends.

    A pause between words becomes the marks that the text has there, of equal lengths, or `sil`. So
    do the silences before the first phone and after the last.

    Args:
        alignment: of the utterance.
        text: its text.
        seconds: duration of its recording.
    """
    phones, words = alignment.phones, alignment.words
    marks = marks_around([word.label for word in words], text)
    intervals: list[Interval] = []

    def add_pause(start: float, end: float) -> None:
        middle = (start + end) / 2
        inside_a_word = any(word.start < middle < word.end for word in words)
        before = sum(word.end <= middle for word in words)
        symbols = pause_symbols([] if inside_a_word else marks[before], MARKS)
        edges = np.linspace(start, end, len(symbols) + 1)
        intervals.extend(map(Interval, edges, edges[1:], symbols))

    if phones[0].start > 0:
        add_pause(0.0, phones[0].start)
    for phone in phones:
        if phone.label == PAUSE:
            add_pause(phone.start, phone.end)
        else:
            intervals.append(phone)
    if seconds > phones[-1].end:
        add_pause(phones[-1].end, seconds)
    return replace(alignment, phones=intervals)
