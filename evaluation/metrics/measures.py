"""The definition of every measure of speech.

metrics.json, the columns of tables and the paired tests are all made from these definitions.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

NOT_RECOGNISED = (
    "Error rates were not measured: no recogniser was used (evaluation.recogniser=null)."
)
"""In place of the definitions of error rates."""
LOWER, HIGHER = -1, 1
"""Whether lower or higher values of a measure are better."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A mean over the sentences of one set, from columns of utterances.csv.

    The value is Σ amounts / Σ weights, for instance word errors over words, passed through
    `finish`.
    """

    name: str
    """its key in metrics.json"""
    heading: str
    """of its column in tables"""
    set: str
    """heldout or other"""
    amount: str
    """a column of utterances.csv"""
    weight: str | None = None
    """another such column; None weighs all sentences alike"""
    finish: Callable[[np.ndarray], np.ndarray] = np.asarray
    mean_of_ratios: bool = False
    """divide each sentence's amount by its weight, then weigh all sentences alike"""
    better: int = 0
    """`LOWER` or `HIGHER`; 0 where systems are not tested"""
    decimals: int = 1
    scale: float = 1.0
    """multiplies the values that tables show: 100 for percentages"""
    definition: str = ""
    """in words; fields in braces are settings of the evaluation"""

    def parts(self, rows: Iterable[dict]) -> dict[str, tuple[float, float]]:
        """Amount and weight of each sentence that has them, by the sentence's id."""
        parts = {}
        for row in rows:
            if row["set"] != self.set or row.get(self.amount, "") == "":
                continue
            amount = float(row[self.amount])
            weight = float(row[self.weight]) if self.weight else 1.0
            if not self.mean_of_ratios:
                parts[row["id"]] = (amount, weight)
            elif weight:  # a sentence without words has no error rate
                parts[row["id"]] = (amount / weight, 1.0)
        return parts

    def value(self, rows: Iterable[dict]) -> float | None:
        """The measure over rows of utterances.csv; None where no sentence has it."""
        parts = self.parts(rows).values()
        total_weight = sum(weight for _, weight in parts)
        if not total_weight:
            return None
        amounts = [amount for amount, _ in parts]
        mean = sum(amounts) / total_weight if self.weight else np.mean(amounts)
        return float(self.finish(np.asarray(mean)))


MEASURES = [
    Measure(
        name="wer_heldout",
        heading="WER held-out, %",
        set="heldout",
        amount="word_errors",
        weight="words",
        better=LOWER,
        scale=100,
        definition="Word error rate of the recogniser ({recogniser}, beam {beam}, {silence} s of "
        "silence before and after each clip) on held-out prompts: errors divided by words, both "
        "summed over sentences. Both texts are compared as they are spoken: numbers are written "
        "out, and Whisper's rules for English expand contractions, unify spellings and remove "
        "punctuation; re-record counts as rerecord. A sentence's errors are capped at its number "
        "of words.",
    ),
    Measure(
        name="wer_other",
        heading="WER other domains, %",
        set="other",
        amount="word_errors",
        weight="words",
        better=LOWER,
        scale=100,
        definition="Word error rate on sentences of other domains.",
    ),
    Measure(
        name="cer_heldout",
        heading="CER held-out, %",
        set="heldout",
        amount="character_errors",
        weight="characters",
        better=LOWER,
        scale=100,
        definition="Character error rate on held-out prompts, with numbers in digits, summed and "
        "capped in the same way.",
    ),
    Measure(
        name="cer_other",
        heading="CER other domains, %",
        set="other",
        amount="character_errors",
        weight="characters",
        better=LOWER,
        scale=100,
        definition="Character error rate on sentences of other domains.",
    ),
    Measure(
        name="mos_heldout",
        heading="DistillMOS held-out",
        set="heldout",
        amount="mos",
        better=HIGHER,
        decimals=2,
        definition="Mean opinion score that DistillMOS predicts (1 to 5), averaged over held-out "
        "prompts.",
    ),
    Measure(
        name="mos_other",
        heading="DistillMOS other domains",
        set="other",
        amount="mos",
        better=HIGHER,
        decimals=2,
        definition="The same, averaged over sentences of other domains.",
    ),
    Measure(
        name="mcd",
        heading="MCD, dB",
        set="heldout",
        amount="mcd",
        better=LOWER,
        decimals=2,
        definition="Mel-cepstral distortion in dB, averaged over held-out prompts: SPTK "
        "mel-cepstra of order 34, alpha 0.45, c0 included, aligned by fastdtw (ESPnet's "
        "definition).",
    ),
    Measure(
        name="log_f0_rmse",
        heading="log-F0 RMSE",
        set="heldout",
        amount="f0_squared_error",
        weight="f0_frames",
        finish=np.sqrt,
        better=LOWER,
        decimals=3,
        definition="Root mean square error of the natural log of F0 (WORLD's {method}) along the "
        "same DTW path, over frames that are voiced in both recordings.",
    ),
    Measure(
        name="vuv_error",
        heading="V/UV error, %",
        set="heldout",
        amount="voicing_errors",
        weight="frames",
        better=LOWER,
        scale=100,
        definition="Fraction of the frames along the same DTW path that are voiced in only one of "
        "the two recordings.",
    ),
    Measure(
        name="duration_mae_ms",
        heading="Duration MAE, ms",
        set="heldout",
        amount="duration_absolute_ms",
        weight="phones",
        better=LOWER,
        definition="Mean absolute error of phone durations against the alignment, in ms.",
    ),
    Measure(
        name="duration_rmse_ms",
        heading="Duration RMSE, ms",
        set="heldout",
        amount="duration_squared_ms",
        weight="phones",
        finish=np.sqrt,
        better=LOWER,
        definition="Root mean square error of phone durations against the alignment, in ms.",
    ),
]
"""In the order of metrics.json."""

SENTENCE_MEANS = [
    Measure(
        name=f"wer_{name}_mean_of_sentences",
        heading=f"WER {title}, mean of sentences, %",
        set=name,
        amount="word_errors",
        weight="words",
        mean_of_ratios=True,
        # Not tested: it only weighs the WER's sentences differently, and its tests would cost the
        # others power.
        better=0,
        scale=100,
    )
    for name, title in (("heldout", "held-out"), ("other", "other domains"))
]
"""Shown in tables beside the word error rates, but not in metrics.json."""
