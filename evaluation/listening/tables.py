"""The analysis of a listening test, as tables for people."""

from collections.abc import Callable
from pathlib import Path

from evaluation.listening.design import PREFERENCE, RATING
from evaluation.report.formats import percent
from pipeline.files import read_json


def read_analysis(folder: Path) -> dict:
    """preferences.json in the folder of a listening test; nothing where there is none."""
    path = folder / "preferences.json"
    return read_json(path) if path.exists() else {}


def listening_tables(analysis: dict) -> list[tuple[str, list[list[str]], str]]:
    """(title, rows with a heading, note) of preferences and of mean opinion scores."""
    listeners = (
        f"{analysis['listeners']} listeners, {analysis['headphones']} of them with headphones; "
        f"{analysis['failed_checks']} left out for failed checks of attention, "
        f"{analysis['refused']} answer files or lines refused."
    )
    return [
        (
            "Preference by listeners",
            _preferences(analysis),
            f"{listeners} Shares are of answers that prefer one; intervals of 95 %: exact "
            "binomial, which takes answers as independent, and a bootstrap over listeners and "
            "sentences; p of the exact binomial test against 50 %, corrected after Holm. "
            f"Agreement (Krippendorff's alpha): {_alpha(analysis, PREFERENCE)}.",
        ),
        (
            "Mean opinion score by listeners",
            _ratings(analysis),
            f"{listeners} Intervals of 95 %: a bootstrap over listeners and sentences. Agreement "
            f"(Krippendorff's alpha, ordinal): {_alpha(analysis, RATING)}.",
        ),
    ]


def _alpha(analysis: dict, kind: str) -> str:
    value = analysis["agreement"][kind]
    return "not known" if value is None else f"{value:.2f}"


def _interval(limits: list[float] | None, show: Callable[[float], str]) -> str:
    return "" if limits is None else f"[{show(limits[0])}, {show(limits[1])}]"


def _preferences(analysis: dict) -> list[list[str]]:
    rows = [
        ["First, second", "First preferred", "Second preferred", "No difference"]
        + ["Share of first, %", "Exact, %", "Bootstrap, %", "p"]
    ]
    for each in analysis["preferences"]:
        names = ", ".join(analysis["labels"][system] for system in each["systems"])
        row = [names, *(str(count) for count in (*each["preferred"], each["same"]))]
        if each["share"] is None:
            row += ["", "", "", ""]
        else:
            row += [percent(each["share"], 1)]
            row += [
                _interval(each[kind], lambda v: percent(v, 1)) for kind in ("exact", "bootstrap")
            ]
            row += ["< 0.001" if each["p_adjusted"] < 0.001 else f"{each['p_adjusted']:.3f}"]
        rows.append(row)
    return rows


def _ratings(analysis: dict) -> list[list[str]]:
    rows = [["System", "MOS", "Interval", "Ratings"]]
    for system, each in analysis["ratings"].items():
        interval = _interval(each["bootstrap"], lambda v: f"{v:.2f}")
        shown = [f"{each['mos']:.2f}", interval, str(each["answers"])]
        rows.append([analysis["labels"][system], *shown])
    return rows
