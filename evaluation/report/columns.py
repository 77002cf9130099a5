"""The columns of tables: headings, each run's value, and how values are shown."""

from collections.abc import Callable
from dataclasses import dataclass

from evaluation.metrics.measures import LOWER, MEASURES, SENTENCE_MEANS, Measure
from evaluation.metrics.pitch import PITCH_MEASURES
from evaluation.report.collect import Group, Run
from fastspeech2.training.metrics import LOSSES

EARLY = (0.05, 0.1, 0.25)
"""Fractions of the training at which early losses are compared."""
TESTED_LOSSES = ("total", "mel")

Value = Callable[[Run], float | None]
"""A run's value; None where the run has none."""


@dataclass(frozen=True)
class Column:
    """A column of a table. `better`, `decimals` and `scale` are as in `Measure`."""

    heading: str
    value: Value
    decimals: int
    scale: float = 1.0
    better: int = 0
    measure: Measure | None = None
    """the measure of speech in this column, whose sentences tests can resample"""

    def show(self, value: float) -> str:
        return f"{self.scale * value:.{self.decimals}f}"


def measure_columns(*names: str) -> list[Column]:
    """The columns of these measures of speech."""
    known = (*MEASURES, *SENTENCE_MEANS, *PITCH_MEASURES)
    measures = {measure.name: measure for measure in known}

    def column(measure: Measure) -> Column:
        return Column(
            measure.heading,
            lambda run: measure.value(run.sentences),
            measure.decimals,
            measure.scale,
            measure.better,
            measure,
        )

    return [column(measures[name]) for name in names]


INTELLIGIBILITY = measure_columns(
    *("wer_heldout", "cer_heldout", "wer_heldout_mean_of_sentences"),
    *("wer_other", "cer_other", "wer_other_mean_of_sentences"),
)
NATURALNESS = measure_columns(
    *("mos_heldout", "mos_other", "mcd", "log_f0_rmse", "vuv_error"),
    *("duration_mae_ms", "duration_rmse_ms"),
)
PITCH = measure_columns(*(measure.name for measure in PITCH_MEASURES))


def at(fraction: float) -> Callable[[Run], dict[str, float]]:
    """Select the first row of metrics.csv from this fraction of the training on."""

    def row(run: Run) -> dict[str, float]:
        update = fraction * run.training["updates"]
        return next((row for row in run.curve if row["update"] >= update), run.curve[-1])

    return row


def best(run: Run) -> dict[str, float]:
    """The row of metrics.csv with the lowest total loss; the first of equals."""
    return min(run.curve, key=lambda row: row["validation_total"])


def loss_columns(row: Callable[[Run], dict[str, float]]) -> list[Column]:
    """The update and the validation losses, by component, of one row of metrics.csv."""

    def value(name: str) -> Value:
        return lambda run: row(run)[name] if run.curve else None

    return [
        Column("Update", value("update"), decimals=0),
        *(
            Column(
                name,
                value(f"validation_{name}"),
                decimals=3,
                better=LOWER if name in TESTED_LOSSES else 0,
            )
            for name in LOSSES
        ),
    ]


def reaching_dense(groups: list[Group], column: str) -> Value:
    """The `update` or `seconds` at which a run's loss reaches the dense run's lowest.

    The dense run is the one of the same seed and otherwise the same settings. The value is None
    where there is no such run, or where its loss is never reached.
    """
    dense = [group for group in groups if group.kind == "dense"]
    group_of = {run.folder: group for group in groups for run in group.runs}

    def value(run: Run) -> float | None:
        if run.training is None:
            return None
        lowest = [
            best(other)["validation_total"]
            for group in dense
            if group.compares_with(group_of[run.folder])
            for other in group.runs
            if other.seed == run.seed
        ]
        if not lowest:
            return None
        rows = (row for row in run.curve if row["validation_total"] <= min(lowest))
        return next((row[column] for row in rows), None)

    return value


def cost_columns(groups: list[Group]) -> list[Column]:
    """Model size, sparsity, and what training and synthesis cost."""

    def trained(name: str) -> Value:
        """A value of training's record; an old record may lack it."""
        return lambda run: run.training.get(name) if run.training else None

    def real_time_factor(part: str) -> Value:
        return lambda run: run.metrics["synthesis"]["real_time_factors"].get(part)

    def cap(run: Run) -> float | None:
        return run.training["sparsity"].get("cap") if run.training else None

    def first_sparsity(run: Run) -> float | None:
        switches = run.training["sparsity_switches"] if run.training else []
        return switches[0]["achieved"] if switches else None

    flops = Column("Training FLOPs, dense = 1", trained("training_flops"), 3)
    known = any(flops.value(run) is not None for group in groups for run in group.runs)
    return [
        Column("Parameters, millions", trained("parameters"), 2, scale=1e-6),
        Column("Cap per tensor, %", cap, 1, scale=100),
        Column("Sparsity achieved first, %", first_sparsity, 1, scale=100),
        Column("Sparsity at the end, %", trained("final_sparsity"), 1, scale=100),
        Column("Updates", trained("updates"), 0),
        *([flops] if known else []),  # old records lack them
        Column("Training, s", trained("train_seconds"), 0),
        Column("Updates per second", trained("updates_per_second"), 1),
        Column("Scoring, s", trained("scoring_seconds"), 1),
        Column("Peak memory, MB", trained("peak_memory_mb"), 0),
        Column("Updates to dense's lowest loss", reaching_dense(groups, "update"), 0),
        Column("Seconds to dense's lowest loss", reaching_dense(groups, "seconds"), 0),
        Column("RTF acoustic model", real_time_factor("acoustic"), 4),
        Column("RTF vocoder", real_time_factor("vocoder"), 3),
    ]
