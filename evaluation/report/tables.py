"""Tables over seeds, in markdown, CSV and LaTeX. Cells without a value are empty."""

from dataclasses import dataclass, field
from pathlib import Path

from evaluation.listening.tables import listening_tables
from evaluation.metrics.measures import NOT_RECOGNISED
from evaluation.report.collect import Group, is_recognised
from evaluation.report.columns import (
    EARLY,
    INTELLIGIBILITY,
    NATURALNESS,
    PITCH,
    Column,
    at,
    best,
    cost_columns,
    loss_columns,
)
from evaluation.report.compare import (
    PairedTest,
    paired_tests,
    table_of_tests,
    what_tests_show,
)
from evaluation.report.formats import comma_separated, latex, markdown, percent
from evaluation.report.paper import Values, require_known
from evaluation.report.statistics import ConfidenceInterval, mean_interval
from pipeline.files import atomic_path


@dataclass
class Table:
    """A table as it is shown, its tests, and the values of every run."""

    name: str
    title: str
    rows: list[list[str]]
    """a heading, then a row for each system that has a value"""
    runs: list[list]
    """a heading, then a row for each run, in full precision and without percentages"""
    tests: list[PairedTest] = field(default_factory=list)
    note: str = ""

    @property
    def test_rows(self) -> list[list[str]]:
        """A heading, then a row for each pair of system and baseline; nothing without tests."""
        return table_of_tests(self.tests)

    @property
    def readings(self) -> list[str]:
        """A sentence for each pair of system and baseline: what the tests show."""
        return what_tests_show(self.tests)


NOTES = {
    "intelligibility": "Error rates are the errors of all sentences divided by all words (or "
    "characters), so long sentences weigh more. In the mean of sentences all weigh the same.",
    "cost": "Dense's lowest loss is the lowest total validation loss of the dense run with the "
    "same seed; (1 of 3) means that one seed of three reached it. Seconds are wall-clock time, "
    "which other work on the machine lengthens. The cap is the largest fraction of any one tensor "
    "that may be masked.",
}


def make_tables(groups: list[Group], paper: Values, paper_file: Path) -> list[Table]:
    """Make all tables over these groups.

    Raises:
        RecipeError: the paper's values name a column or a system that does not exist.
    """
    moments = {f"losses_{percent(f)}": (f"at {percent(f)} % of training", at(f)) for f in EARLY}
    moments["losses_best"] = ("where the total is lowest", best)
    moments["losses_end"] = ("at the end of training", at(1.0))
    plans = {
        name: (f"Validation losses {when}", loss_columns(row))
        for name, (when, row) in moments.items()
    }
    plans["intelligibility"] = ("Intelligibility", INTELLIGIBILITY)
    plans["naturalness"] = ("Naturalness", NATURALNESS)
    if any(column.value(run) is not None for column in PITCH for g in groups for run in g.runs):
        plans["pitch"] = ("Pitch", PITCH)
    plans["cost"] = ("Cost", cost_columns(groups))
    headings = {column.heading for _, columns in plans.values() for column in columns}
    require_known(paper, headings, {group.label for group in groups}, paper_file)
    tables = [
        _table(name, title, columns, groups, paper) for name, (title, columns) in plans.items()
    ]
    return [*tables, runs_table(groups)]


def runs_table(groups: list[Group]) -> Table:
    """The processor and the precision of each run."""
    rows = [["System", "Seed", "Processor", "Training precision", "Vocoder precision", "Run"]]
    for group in groups:
        for run in group.runs:
            training, synthesis = run.training or {}, run.metrics["synthesis"]
            seed = str(run.seed) if run.training else ""
            precision = [each or "" for each in run.precision]
            processor = training.get("processor", synthesis.get("processor", ""))
            rows.append([group.label, seed, processor, *precision, run.folder.name])
    processors = {row[2] for row in rows[1:]}
    note = (
        "The runs used different processors, so their times, memory and speed cannot be compared."
        if len(processors) > 1
        else ""
    )
    title = "Runs, with their processors and precision"
    return Table("runs", title, rows, rows, note=note)


def _table(
    name: str, title: str, columns: list[Column], groups: list[Group], paper: Values
) -> Table:
    heading = ["System", "Seeds"]
    for column in columns:
        heading += [column.heading]
        heading += [f"Paper: {column.heading}"] if column.heading in paper else []
    rows, runs = [heading], [["run", "system", "seed", *(_plain(each) for each in columns)]]
    for group in groups:
        shown = [group.label, str(len(group.runs)) if group.training else ""]
        empty = len(shown)
        for column in columns:
            shown.append(cell(group, column))
            if column.heading in paper:
                shown.append(paper[column.heading].get(group.label, ""))
        if any(shown[empty:]):
            rows.append(shown)
        for run in group.runs:
            values = [column.value(run) for column in columns]
            runs.append([run.folder.name, group.label, run.seed, *values])
    tests, note = paired_tests(groups, columns), NOTES.get(name, "")
    if name in ("intelligibility", "naturalness") and not is_recognised(groups):
        note = NOT_RECOGNISED
    return Table(name, title, rows, runs, tests, note)


def tables_of_listeners(analysis: dict) -> list[Table]:
    """The tables of a listening test; `analysis` is preferences.json, or empty without a test."""
    if not analysis:
        return []
    tables = listening_tables(analysis)
    return [Table(name, title, rows, rows, note=note) for name, title, rows, note in tables]


def _plain(column: Column) -> str:
    """The heading without the percent sign, since CSV files contain fractions."""
    return column.heading.replace(", %", "")


def interval_of(group: Group, column: Column) -> ConfidenceInterval | None:
    """Mean over seeds and its interval; None where no run has a value."""
    values = [value for run in group.runs if (value := column.value(run)) is not None]
    return mean_interval(values) if values else None


def cell(group: Group, column: Column) -> str:
    """Mean over seeds, half width of its interval, and how many seeds have a value if not all."""
    interval = interval_of(group, column)
    if interval is None:
        return ""
    text = column.show(interval.mean)
    # A value that is the same for all seeds, such as the number of updates, needs no interval.
    if interval.half_width:
        text += f" ± {column.show(interval.half_width)}"
    if interval.count < len(group.runs):
        text += f" ({interval.count} of {len(group.runs)})"
    return text


def write_tables(tables: list[Table], folder: Path) -> None:
    """Write each table as .md, .csv and .tex, its tests as `<name>_tests.*`, and readings.md."""
    files = {}
    for table in tables:
        files[f"{table.name}.md"] = markdown(table.rows) + (
            f"\n{table.note}\n" if table.note else ""
        )
        files[f"{table.name}.tex"] = latex(table.rows)
        files[f"{table.name}.csv"] = comma_separated(table.runs)
        if table.tests:
            files[f"{table.name}_tests.md"] = markdown(table.test_rows)
            files[f"{table.name}_tests.tex"] = latex(table.test_rows)
            files[f"{table.name}_tests.csv"] = comma_separated(table.test_rows)
    files["readings.md"] = readings(tables)
    for name, text in files.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, "utf-8")


def readings(tables: list[Table]) -> str:
    """The contents of readings.md: what the tests of each table show, under its title."""
    sections = [
        "\n".join([f"## {table.title}", "", *(f"- {line}" for line in table.readings)])
        for table in tables
        if table.readings
    ]
    caution = "A difference that is not shown may still exist: its interval says how large."
    return "\n\n".join(["# What the tests show", caution, *sections]) + "\n"
