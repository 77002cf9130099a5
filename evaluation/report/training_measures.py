"""What tables show of a run's training: losses along the way, and what it cost."""

from collections.abc import Callable

from evaluation.report.collect import Group, Run
from evaluation.report.measures import Column, digits, of_training, one_decimal_percent
from fastspeech2.training.metrics import LOSSES

EARLY = (0.05, 0.1, 0.25)
"""Where in training losses are compared, fractions of all updates."""
TESTED = ("total", "mel")


def at(fraction: float) -> Callable[[Run], dict[str, float]]:
    """The first row of metrics.csv from this fraction of training on."""

    def row(run: Run) -> dict[str, float]:
        update = fraction * run.training["updates"]
        return next((row for row in run.curve if row["update"] >= update), run.curve[-1])

    return row


def best(run: Run) -> dict[str, float]:
    """The row of the lowest total loss; of equals, the first."""
    return min(run.curve, key=lambda row: row["validation_total"])


def loss_columns(row: Callable[[Run], dict[str, float]]) -> list[Column]:
    """Validation losses by component in one row of metrics.csv, and where that row is."""

    def value(name: str) -> Callable[[Run], float | None]:
        return lambda run: row(run)[name] if run.curve else None

    return [
        Column("Update", value("update"), digits(0)),
        *(
            Column(name, value(f"validation_{name}"), digits(3), -1 if name in TESTED else 0)
            for name in LOSSES
        ),
    ]


def reaching_dense(groups: list[Group], column: str) -> Callable[[Run], float | None]:
    """`update` or `seconds` at which a run's loss is as low as the dense run of its seed gets.

    None where it never is, and where no dense run of this seed and these settings is there.
    """
    dense = [group for group in groups if group.kind == "dense"]
    homes = {run.folder: group for group in groups for run in group.runs}

    def value(run: Run) -> float | None:
        if run.training is None:
            return None
        goals = [
            best(other)["validation_total"]
            for group in dense
            if group.compares_with(homes[run.folder])
            for other in group.runs
            if other.seed == run.seed
        ]
        goal = min(goals, default=None)
        if goal is None:
            return None
        rows = [row[column] for row in run.curve if row["validation_total"] <= goal]
        return rows[0] if rows else None

    return value


def cost_columns(groups: list[Group]) -> list[Column]:
    """Time, memory and size; seconds are by the clock on the wall, whatever else was running."""

    def real_time_factor(part: str) -> Callable[[Run], float | None]:
        return lambda run: run.metrics["synthesis"]["real_time_factors"].get(part)

    def cap(run: Run) -> float | None:
        return run.training["sparsity"].get("cap") if run.training else None

    def first_sparsity(run: Run) -> float | None:
        switches = run.training["sparsity_switches"] if run.training else []
        return switches[0]["achieved"] if switches else None

    return [
        Column("Parameters, millions", of_training("parameters"), lambda v: f"{v / 1e6:.2f}"),
        Column("Cap per tensor, %", cap, one_decimal_percent),
        Column("Sparsity achieved first, %", first_sparsity, one_decimal_percent),
        Column("Sparsity at the end, %", of_training("final_sparsity"), one_decimal_percent),
        Column("Updates", of_training("updates"), digits(0)),
        Column("Training, s", of_training("train_seconds"), digits(0)),
        Column("Updates per second", of_training("updates_per_second"), digits(1)),
        Column("Scoring, s", of_training("scoring_seconds"), digits(1)),
        Column("Peak memory, MB", of_training("peak_memory_mb"), digits(0)),
        Column("Updates to dense's lowest loss", reaching_dense(groups, "update"), digits(0)),
        Column("Seconds to dense's lowest loss", reaching_dense(groups, "seconds"), digits(0)),
        Column("RTF acoustic model", real_time_factor("acoustic"), digits(4)),
        Column("RTF vocoder", real_time_factor("vocoder"), digits(3)),
    ]
