"""Finds alignments that cannot be right."""

import numpy as np

from audio.constants import SAMPLE_RATE
from pipeline.errors import UtteranceError
from preprocessing.alignment.textgrid import Alignment
from preprocessing.settings import ScreeningSettings
from preprocessing.text.phones import PAUSE

SHORT_PHONE = 0.031
"""Seconds. A hidden Markov model of three states needs at least three frames of 10 ms a phone."""


def check_plausible(
    alignment: Alignment, waveform: np.ndarray, screening: ScreeningSettings
) -> None:
    """Recognise an aligner that had to fit a text which was not spoken.

    Args:
        alignment: of the utterance.
        waveform: its recording, `[samples]`.
        screening: the limits, from the corpus's configuration.

    Raises:
        UtteranceError: phones are on average too short or too long for speech, too many are as
            short as the aligner can make them, or there is speech before the first phone or after
            the last.
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
    """Seconds before `start` and after `end` that are at most 12 dB quieter than the median
    between them."""
    hop = SAMPLE_RATE // 100
    waveform = waveform - waveform.mean()  # An offset is no sound.
    blocks = waveform[: len(waveform) // hop * hop].reshape(-1, hop)
    loudness = np.sqrt(np.mean(np.square(blocks), axis=1))
    first, last = (round(seconds * SAMPLE_RATE / hop) for seconds in (start, end))
    outside = np.concatenate([loudness[:first], loudness[last:]])
    return int(np.sum(outside > np.median(loudness[first:last]) / 4)) * hop / SAMPLE_RATE
