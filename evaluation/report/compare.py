"""Paired tests of systems against their baselines, and what may be said of them."""

import zlib
from dataclasses import dataclass

import numpy as np

from evaluation.report.collect import Group, baselines
from evaluation.report.measures import Column
from evaluation.report.statistics import LEVEL, Comparison, holm, paired_bootstrap, paired_t


@dataclass
class Test:
    """One column of one pair of systems; `adjusted` is its p-value after Holm's correction."""

    system: str
    baseline: str
    column: Column
    result: Comparison
    adjusted: float | None = None

    __test__ = False  # not one of pytest's

    @property
    def shown_difference(self) -> bool:
        return self.adjusted is not None and self.adjusted < 1 - LEVEL


def compare(system: Group, baseline: Group, column: Column) -> Comparison | None:
    """`system` minus `baseline` over the seeds, and sentences, that both have; None without any."""
    by_seed = [{run.seed: run for run in group.runs} for group in (system, baseline)]
    seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
    ours, theirs = ([runs[seed] for seed in seeds] for runs in by_seed)
    if not seeds or any(column.value(run) is None for run in [*ours, *theirs]):
        return None
    if column.ratio is None:
        return paired_t(*([column.value(run) for run in runs] for runs in (ours, theirs)))
    common = set.intersection(*(set(column.ratio.parts(run)) for run in [*ours, *theirs]))
    ids = sorted(common)
    # Its own random numbers for each comparison, the same whatever else is compared.
    name = f"{system.label}|{baseline.label}|{column.heading}"
    random = np.random.default_rng(zlib.crc32(name.encode()))
    return paired_bootstrap(column.ratio.of(ours, ids), column.ratio.of(theirs, ids), random)


def tests(groups: list[Group], columns: list[Column]) -> list[Test]:
    """All tests of a table, corrected together after Holm."""
    found = []
    for system in groups:
        for baseline in baselines(system, groups):
            for column in columns:
                result = compare(system, baseline, column) if column.better else None
                if result is not None:
                    found.append(Test(system.label, baseline.label, column, result))
    decided = [test for test in found if test.result.p is not None]
    for test, p in zip(decided, holm([test.result.p for test in decided]), strict=True):
        test.adjusted = p
    return found


def pairs(found: list[Test]) -> dict[tuple[str, str], list[Test]]:
    """The tests of each pair of system and baseline."""
    grouped: dict[tuple[str, str], list[Test]] = {}
    for test in found:
        grouped.setdefault((test.system, test.baseline), []).append(test)
    return grouped


def signed(column: Column, value: float) -> str:
    """As the column shows it, with a sign."""
    shown = column.show(abs(value))
    return shown if not shown.strip("0.") else ("+" if value > 0 else "−") + shown


def cell(test: Test) -> str:
    """Difference, interval and corrected p-value."""
    result, column = test.result, test.column
    text = signed(column, result.difference)
    if result.low is not None:
        text += f" [{signed(column, result.low)}, {signed(column, result.high)}]"
    if test.adjusted is not None:
        text += f", p {'< 0.001' if test.adjusted < 0.001 else f'= {test.adjusted:.3f}'}"
    return text


def cells(found: list[Test]) -> list[list[str]]:
    """A heading and a row for each pair; none without tests."""
    if not found:
        return []
    headings = list(dict.fromkeys(test.column.heading for test in found))
    rows = [["System minus baseline", "Seeds", *headings]]
    for (system, baseline), each in pairs(found).items():
        by_heading = {test.column.heading: cell(test) for test in each}
        seeds = str(each[0].result.seeds)
        shown = [by_heading.get(heading, "") for heading in headings]
        rows.append([f"{system} − {baseline}", seeds, *shown])
    return rows


def readings(found: list[Test]) -> list[str]:
    """One line for each pair: what was shown to differ, and what was not."""
    if found and all(test.adjusted is None for test in found):
        return ["One seed, which cannot tell the systems from the chance of their training."]
    return [
        f"{system} against {baseline}: {_reading(each)}"
        for (system, baseline), each in pairs(found).items()
    ]


def _reading(found: list[Test]) -> str:
    seeds = found[0].result.seeds
    shown = [_claim(test) for test in found if test.shown_difference]
    parts = ["; ".join(shown)] if shown else []
    if len(shown) < len(found):
        parts.append(f"no difference shown in {'the other measures' if shown else 'any measure'}")
    text = ". ".join(part[0].upper() + part[1:] for part in parts)
    if seeds == 1:
        return f"{text} (one seed: of these two models only, not of the methods)."
    return f"{text} ({seeds} seeds)."


def _claim(test: Test) -> str:
    result, column = test.result, test.column
    way = "higher" if result.difference > 0 else "lower"
    good = "better" if result.difference * column.better > 0 else "worse"
    name = column.heading.split(",")[0]
    limits = f"{signed(column, result.low)} to {signed(column, result.high)}"
    unit = column.heading.partition(", ")[2].replace("%", "points")
    return (
        f"{name} {way} ({good}) by {column.show(abs(result.difference))} [{limits}] {unit}".strip()
    )
