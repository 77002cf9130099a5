"""What tables show of a run: where each value is, how it is read, and its parts by sentence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.report.collect import Run, percent
from evaluation.report.statistics import Sentences


@dataclass(frozen=True)
class Ratio:
    """A measure as Σ amounts / Σ weights over the sentences of a set, columns of utterances.csv."""

    set: str
    amount: str
    weight: str | None = None
    """None weighs every sentence alike"""
    relative: bool = False
    """divide each sentence's amount by its weight, and weigh every sentence alike"""
    finish: Callable[[np.ndarray], np.ndarray] = np.asarray

    def parts(self, run: Run) -> dict[str, tuple[float, float]]:
        """Amount and weight of each sentence that has them, by id."""
        weight = self.weight
        parts = {}
        for row in run.sentences:
            if row["set"] != self.set or not row.get(self.amount):
                continue
            amount, each = float(row[self.amount]), float(row[weight]) if weight else 1.0
            if self.relative and each == 0:
                continue  # a sentence without a word has no share of wrong ones
            parts[row["id"]] = (amount / each, 1.0) if self.relative else (amount, each)
        return parts

    def value(self, run: Run) -> float | None:
        parts = self.parts(run).values()
        if not parts:
            return None
        total = sum(amount for amount, _ in parts) / sum(weight for _, weight in parts)
        return float(self.finish(np.array(total)))

    def of(self, runs: Sequence[Run], ids: Sequence[str]) -> Sentences:
        """Amounts and weights `[runs, ids]`."""
        values = np.array([[self.parts(run)[each] for each in ids] for run in runs], float)
        return Sentences(values[..., 0], values[..., 1], self.finish)


@dataclass(frozen=True)
class Column:
    """A column: its heading, a run's value, and how people read it."""

    heading: str
    value: Callable[[Run], float | None]
    show: Callable[[float], str]
    better: int = 0
    """-1 where less is better, 1 where more is, 0 where it is not tested"""
    ratio: Ratio | None = None
    """where sentences can be resampled"""


def digits(count: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{count}f}"


def one_decimal_percent(value: float) -> str:
    return percent(value, 1)


def of_training(*path: str) -> Callable[[Run], float | None]:
    """A value in record.json; None for a reference and where an older record lacks it."""

    def value(run: Run) -> float | None:
        found = run.training
        for name in path:
            found = None if found is None else found.get(name)
        return found

    return value


def by_sentence(
    heading: str, name: str, show: Callable[[float], str], better: int, *ratio, **options
) -> Column:
    """A measure of metrics.json that is a `Ratio`, whose arguments are the rest."""

    def value(run: Run) -> float | None:
        return run.metrics["measures"][name]

    return Column(heading, value, show, better, Ratio(*ratio, **options))


def error_rates(of: str, title: str) -> list[Column]:
    """Word and character error rates of a set of sentences."""
    word = Ratio(of, "word_errors", "words", relative=True)
    return [
        by_sentence(
            f"WER {title}, %", f"wer_{of}", one_decimal_percent, -1, of, "word_errors", "words"
        ),
        by_sentence(
            f"CER {title}, %",
            f"cer_{of}",
            one_decimal_percent,
            -1,
            of,
            "character_errors",
            "characters",
        ),
        # Not tested: it is the first with other weights, and would cost the other tests power.
        Column(f"WER {title}, mean of sentences, %", word.value, one_decimal_percent),
    ]


INTELLIGIBILITY = [*error_rates("heldout", "held-out"), *error_rates("other", "other domains")]
NATURALNESS = [
    by_sentence("DistillMOS held-out", "mos_heldout", digits(2), 1, "heldout", "mos"),
    by_sentence("DistillMOS other domains", "mos_other", digits(2), 1, "other", "mos"),
    by_sentence("MCD, dB", "mcd", digits(2), -1, "heldout", "mcd"),
    by_sentence(
        *("log-F0 RMSE", "log_f0_rmse", digits(3), -1),
        *("heldout", "f0_squared_error", "f0_frames"),
        finish=np.sqrt,
    ),
    by_sentence(
        *("V/UV error, %", "vuv_error", one_decimal_percent, -1),
        *("heldout", "voicing_errors", "frames"),
    ),
    by_sentence(
        *("Duration MAE, ms", "duration_mae_ms", digits(1), -1),
        *("heldout", "duration_absolute_ms", "phones"),
    ),
    by_sentence(
        *("Duration RMSE, ms", "duration_rmse_ms", digits(1), -1),
        *("heldout", "duration_squared_ms", "phones"),
        finish=np.sqrt,
    ),
]
