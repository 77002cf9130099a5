"""The report's first screen: the question, the answer that the tests support, and key figures."""

from dataclasses import replace

from evaluation.report.collect import Group, is_recognised
from evaluation.report.columns import Column, at, best, cost_columns, loss_columns, measure_columns
from evaluation.report.compare import PairedTest, describe
from evaluation.report.tables import Table, cell, interval_of

QUESTION = "Does sparse training with SNIPER beat dense training?"
COLOURS = ["#2b83ba", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56a4d8", "#808080"]
DASHES = ["", "7 3", "9 3 2 3", "2 3"]
"""Of the trained systems' lines, in order; visible on light and dark backgrounds."""
MOST_DIFFERENCES = 4
"""Differences that the answer lists."""


def line_styles(groups: list[Group]) -> dict[str, dict[str, str]]:
    """The `colour` and `dash` of each trained system; the first 28 all differ."""
    trained = [group.label for group in groups if group.training]
    return {
        label: {"colour": COLOURS[number % len(COLOURS)], "dash": DASHES[number % len(DASHES)]}
        for number, label in enumerate(trained)
    }


def answer(groups: list[Group], tables: list[Table]) -> list[str]:
    """The answer to `QUESTION` in a sentence, then what it rests on.

    It compares decaying sparsity with dense training, by the tests of all tables.
    """
    kinds = {group.label: group.kind for group in groups}
    tests = [
        (table, test)
        for table in tables
        for test in table.tests
        if (kinds[test.system], kinds[test.baseline]) == ("decaying", "dense")
    ]
    if not tests:
        return [
            "There is no answer yet.",
            "It needs a dense system and one with decaying sparsity, with otherwise the same "
            "settings.",
        ]
    seeds = max(test.result.seeds for _, test in tests)
    shown = [(table, test) for table, test in tests if test.shows_difference]
    if seeds == 1:
        return ["One seed cannot answer this: it cannot separate the systems from training noise."]
    with_p = sum(test.adjusted is not None for _, test in tests)
    if not shown:
        return [
            f"Not shown: with {seeds} seeds, none of {with_p} paired tests finds a difference "
            "between decaying sparsity and dense training.",
            "A few seeds reveal only large effects, so this does not show that they are equal. "
            "The intervals of the tests say how large a difference may be.",
        ]
    better = sum(_is_better(test) for _, test in shown)
    if better == len(shown):
        verdict = "Yes, in some measures"
    elif better:
        verdict = "In some measures yes, in others it is worse"
    else:
        verdict = "No, it is worse in some measures"
    differences = [f"{table.title}: {describe(test)}" for table, test in shown]
    listed = "; ".join(differences[:MOST_DIFFERENCES])
    more = len(differences) - MOST_DIFFERENCES
    return [
        f"{verdict}: with {seeds} seeds, {len(shown)} of {with_p} paired tests find a difference "
        "between decaying sparsity and dense training.",
        f"{listed}{f'; and {more} more' if more > 0 else ''}.",
    ]


def _is_better(test: PairedTest) -> bool:
    return test.result.difference * test.column.better > 0


def headline(groups: list[Group]) -> dict:
    """The first screen's table: headings, and rows of cells with text and an interval to draw.

    Positions of intervals are percentages of the range of their column.
    """
    columns = _headline_columns(groups)
    ranges = [_range(groups, column) for column in columns]
    styles = line_styles(groups)
    rows = [
        {
            "label": group.label,
            "style": styles.get(group.label),
            "cells": [_drawn(group, *each) for each in zip(columns, ranges, strict=True)],
        }
        for group in groups
    ]
    return {"headings": [column.heading for column in columns], "rows": rows}


def _headline_columns(groups: list[Group]) -> list[Column]:
    early, lowest = loss_columns(at(0.1))[1], loss_columns(best)[1]
    seconds = {column.heading: column for column in cost_columns(groups)}["Training, s"]
    return [
        replace(early, heading="Loss at 10 %"),
        replace(lowest, heading="Lowest loss"),
        *measure_columns(*(["wer_heldout"] if is_recognised(groups) else []), "mos_heldout"),
        replace(seconds, heading="Training, min", scale=1 / 60),
    ]


def _range(groups: list[Group], column: Column) -> tuple[float, float]:
    """The lowest and the highest bound of all intervals of a column."""
    intervals = [each for group in groups if (each := interval_of(group, column))]
    bounds = [
        bound
        for each in intervals
        for bound in (each.low, each.mean, each.high)
        if bound is not None
    ]
    return (min(bounds), max(bounds)) if bounds else (0.0, 1.0)


def _drawn(group: Group, column: Column, limits: tuple[float, float]) -> dict | None:
    interval = interval_of(group, column)
    if interval is None:
        return None
    low, high = limits

    def position(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - low) / ((high - low) or 1), 1)

    return {
        "text": cell(group, column),
        "mean": position(interval.mean),
        "low": position(interval.low),
        "high": position(interval.high),
    }


def early_losses(bands: dict[str, dict[str, list]], until: float) -> list[list[str]]:
    """Mean losses of each system by update up to `until`, as rows of text with a heading."""
    means = [dict(zip(band["update"], band["mean"], strict=True)) for band in bands.values()]
    updates = sorted({update for mean in means for update in mean if update <= until})
    rows = [
        [f"{update:.0f}", *(f"{mean[update]:.3f}" if update in mean else "" for mean in means)]
        for update in updates
    ]
    return [["Update", *bands], *rows]
