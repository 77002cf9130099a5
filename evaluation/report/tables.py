"""Tables over seeds, in markdown, CSV and LaTeX; a cell without a value is empty."""

from dataclasses import dataclass
from pathlib import Path

from evaluation.listening.tables import listening_tables
from evaluation.report import compare
from evaluation.report.collect import Group, percent
from evaluation.report.formats import comma_separated, latex, markdown
from evaluation.report.measures import INTELLIGIBILITY, NATURALNESS, Column
from evaluation.report.paper import Values, require_known
from evaluation.report.statistics import mean_interval
from evaluation.report.training_measures import EARLY, at, best, cost_columns, loss_columns
from pipeline.files import atomic_path


@dataclass
class Table:
    """A table as people read it, its tests, and every run's values."""

    name: str
    title: str
    rows: list[list[str]]
    """a heading, then a row for each system that has any value"""
    runs: list[list]
    """a heading, then a row for each run: full precision, fractions as fractions"""
    tests: list[list[str]]
    """a heading and a row for each pair of system and baseline, or nothing"""
    readings: list[str]
    """a line for each pair, of what the tests show"""
    note: str = ""


NOTES = {
    "intelligibility": "Error rates are errors over words (or characters) of all sentences, which "
    "weighs each sentence by the length of its ground truth; the mean of sentences weighs all "
    "alike.",
    "cost": "Dense's lowest loss is the lowest total validation loss of the dense run of the same "
    "seed; (1 of 3) where not every seed gets there. Seconds are by the clock on the wall: other "
    "runs beside them on the machine lengthen them. The cap is the most that may be masked in any "
    "one tensor.",
}


def make_tables(groups: list[Group], paper: Values, paper_file: Path) -> list[Table]:
    """All tables over these groups.

    Raises:
        RecipeError: the paper's values name a column or system that is not there.
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
    plans["cost"] = ("Cost", cost_columns(groups))
    headings = {column.heading for _, columns in plans.values() for column in columns}
    require_known(paper, headings, {group.label for group in groups}, paper_file)
    tables = [
        _table(name, title, columns, groups, paper) for name, (title, columns) in plans.items()
    ]
    return [*tables, runs_table(groups)]


def runs_table(groups: list[Group]) -> Table:
    """What each run was computed on; runs of different precision are not put together."""
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
        "Processors differ, so seconds, memory and speed of these runs do not compare."
        if len(processors) > 1
        else ""
    )
    title = "Runs, and what they were computed on"
    return Table("runs", title, rows, rows, tests=[], readings=[], note=note)


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
            shown.append(_cell(group, column))
            if column.heading in paper:
                shown.append(paper[column.heading].get(group.label, ""))
        if any(shown[empty:]):
            rows.append(shown)
        for run in group.runs:
            values = [column.value(run) for column in columns]
            runs.append([run.folder.name, group.label, run.seed, *values])
    found = compare.tests(groups, columns)
    return Table(
        *(name, title, rows, runs),
        *(compare.cells(found), compare.readings(found), NOTES.get(name, "")),
    )


def tables_of_listeners(analysis: dict) -> list[Table]:
    """What listening tests showed, where there were any: `analysis` is preferences.json."""
    if not analysis:
        return []
    names = ("preference", "listeners_mos")
    return [
        Table(name, title, rows, rows, tests=[], readings=[], note=note)
        for name, (title, rows, note) in zip(names, listening_tables(analysis), strict=True)
    ]


def _plain(column: Column) -> str:
    """The heading without a percent sign, since files hold fractions."""
    return column.heading.replace(", %", "")


def _cell(group: Group, column: Column) -> str:
    """Mean and half width of its interval over seeds; the share of seeds where some lack it."""
    values = [value for run in group.runs if (value := column.value(run)) is not None]
    if not values:
        return ""
    interval = mean_interval(values)
    text = column.show(interval.mean)
    # Seeds that agree to the last digit, as a number of updates does, need no interval.
    if interval.half_width:
        text += f" ± {column.show(interval.half_width)}"
    if len(values) < len(group.runs):
        text += f" ({len(values)} of {len(group.runs)})"
    return text


def write_tables(tables: list[Table], folder: Path) -> None:
    """Write each as .md, .csv and .tex, its tests as `<name>_tests.*`, and readings.md."""
    files = {}
    for table in tables:
        files[f"{table.name}.md"] = markdown(table.rows) + (
            f"\n{table.note}\n" if table.note else ""
        )
        files[f"{table.name}.tex"] = latex(table.rows)
        files[f"{table.name}.csv"] = comma_separated(table.runs)
        if table.tests:
            files[f"{table.name}_tests.md"] = markdown(table.tests)
            files[f"{table.name}_tests.tex"] = latex(table.tests)
            files[f"{table.name}_tests.csv"] = comma_separated(table.tests)
    files["readings.md"] = readings(tables)
    for name, text in files.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, "utf-8")


def readings(tables: list[Table]) -> str:
    """Each table's readings under its title."""
    sections = [
        "\n".join([f"## {table.title}", "", *(f"- {line}" for line in table.readings)])
        for table in tables
        if table.readings
    ]
    caution = "Where no difference is shown there may be one: its interval says how large."
    return "\n\n".join(["# What the tests show", caution, *sections]) + "\n"
