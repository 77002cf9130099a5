"""Tables over runs, in markdown, CSV and LaTeX; a cell without a value is empty."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evaluation.collect import Run, percent
from preprocessing.artefacts import atomic_path


@dataclass
class Column:
    """A column: its heading, where its value is, and how people read it."""

    heading: str
    value: Callable[[Run], float | None]
    show: Callable[[float], str]


def _measure(name: str) -> Callable[[Run], float | None]:
    return lambda run: run.metrics["measures"][name]


def _training(*path: str) -> Callable[[Run], float | None]:
    def value(run: Run) -> float | None:
        found = run.training
        for name in path:
            found = None if found is None else found[name]
        return found

    return value


def _real_time_factor(part: str) -> Callable[[Run], float | None]:
    return lambda run: run.metrics["synthesis"]["real_time_factors"].get(part)


def _digits(count: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{count}f}"


def _percent(value: float) -> str:
    return percent(value, 1)


SPEECH = [
    Column("WER held-out, %", _measure("wer_heldout"), _percent),
    Column("CER held-out, %", _measure("cer_heldout"), _percent),
    Column("WER other domains, %", _measure("wer_other"), _percent),
    Column("CER other domains, %", _measure("cer_other"), _percent),
    Column("DistillMOS held-out", _measure("mos_heldout"), _digits(2)),
    Column("DistillMOS other domains", _measure("mos_other"), _digits(2)),
    Column("MCD, dB", _measure("mcd"), _digits(2)),
    Column("log-F0 RMSE", _measure("log_f0_rmse"), _digits(3)),
    Column("V/UV error, %", _measure("vuv_error"), _percent),
    Column("Duration MAE, ms", _measure("duration_mae_ms"), _digits(1)),
    Column("Duration RMSE, ms", _measure("duration_rmse_ms"), _digits(1)),
]
TRAINING = [
    Column("Validation loss", _training("validation", "total"), _digits(3)),
    Column("mel", _training("validation", "mel"), _digits(3)),
    Column("duration", _training("validation", "duration"), _digits(3)),
    Column("pitch", _training("validation", "pitch"), _digits(3)),
    Column("energy", _training("validation", "energy"), _digits(3)),
]
COST = [
    Column("Parameters, millions", _training("parameters"), lambda value: f"{value / 1e6:.2f}"),
    Column("Final sparsity, %", _training("final_sparsity"), _percent),
    Column("Updates", _training("updates"), _digits(0)),
    Column("Training, s", _training("train_seconds"), _digits(0)),
    Column("Scoring, s", _training("scoring_seconds"), _digits(1)),
    Column("RTF acoustic model", _real_time_factor("acoustic"), _digits(4)),
    Column("RTF vocoder", _real_time_factor("vocoder"), _digits(3)),
]
TABLES = {
    "speech": ("Intelligibility and naturalness", SPEECH),
    "losses": ("Validation losses at the end of training", TRAINING),
    "cost": ("Cost", COST),
}


def cells(runs: list[Run], columns: list[Column]) -> list[list[str]]:
    """Headings, then a row for each run that has any value in these columns."""
    rows = [["System", *(column.heading for column in columns)]]
    for run in runs:
        values = [column.value(run) for column in columns]
        if any(value is not None for value in values):
            shown = [
                "" if value is None else column.show(value)
                for column, value in zip(columns, values, strict=True)
            ]
            rows.append([run.label, *shown])
    return rows


def markdown(rows: list[list[str]]) -> str:
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    rule = "|---|" + "---:|" * (len(rows[0]) - 1)
    return "\n".join([head, rule, *body]) + "\n"


def latex(rows: list[list[str]]) -> str:
    """A booktabs tabular."""
    escapes = str.maketrans({"%": r"\%", "→": r"$\rightarrow$", "&": r"\&", "_": r"\_"})
    head, *body = [" & ".join(row).translate(escapes | {38: "&"}) + r" \\" for row in rows]
    columns = "l" + "r" * (len(rows[0]) - 1)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def comma_separated(runs: list[Run], columns: list[Column]) -> str:
    """Full precision, fractions as fractions, a row for each run, with its folder's name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "system", *(column.heading.replace(", %", "") for column in columns)])
    for run in runs:
        writer.writerow([run.folder.name, run.label, *(column.value(run) for column in columns)])
    return text.getvalue()


def write_tables(runs: list[Run], folder: Path) -> None:
    """Write each of `TABLES` as .md, .csv and .tex."""
    for name, (_, columns) in TABLES.items():
        rows = cells(runs, columns)
        texts = {"md": markdown(rows), "csv": comma_separated(runs, columns), "tex": latex(rows)}
        for suffix, text in texts.items():
            with atomic_path(folder / f"{name}.{suffix}") as temporary:
                temporary.write_text(text, "utf-8")
