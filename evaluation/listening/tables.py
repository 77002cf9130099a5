"""Tables of the analysis of a listening test."""

from collections.abc import Callable
from pathlib import Path

from evaluation.listening.design import PREFERENCE, RATING
from evaluation.report.formats import percent
from pipeline.files import read_json


def read_analysis(folder: Path) -> dict:
    """Read preferences.json in a listening test's folder; without one, return an empty dict."""
    path = folder / "preferences.json"
    return read_json(path) if path.exists() else {}


def listening_tables(analysis: dict) -> list[tuple[str, list[list[str]], str]]:
    """Make the tables of preferences and of mean opinion scores: (title, rows, note)."""
    listeners = (
        f"{analysis['listeners']} listeners, {analysis['headphones']} of them with headphones. "
        f"Left out: {analysis['failed_checks']} listeners who failed an attention check and "
        f"{analysis['refused']} invalid answer files or lines."
    )
    return [
        (
            "Preference by listeners",
            _preferences(analysis),
            f"{listeners} Shares are of the answers that prefer one system. Both intervals are of "
            "95 %: the exact binomial one treats answers as independent, the bootstrap resamples "
            "listeners and sentences. p is of the exact binomial test against 50 %, with Holm's "
            f"correction. Agreement (Krippendorff's alpha): {_alpha(analysis, PREFERENCE)}.",
        ),
        (
            "Mean opinion score by listeners",
            _ratings(analysis),
            f"{listeners} Intervals are of 95 %, by a bootstrap over listeners and sentences. "
            f"Agreement (Krippendorff's alpha, ordinal): {_alpha(analysis, RATING)}.",
        ),
    ]


def _alpha(analysis: dict, kind: str) -> str:
    value = analysis["agreement"][kind]
    return "cannot be computed" if value is None else f"{value:.2f}"


def _interval(limits: list[float] | None, show: Callable[[float], str]) -> str:
    return "" if limits is None else f"[{show(limits[0])}, {show(limits[1])}]"


def _preferences(analysis: dict) -> list[list[str]]:
    rows = [
        ["First, second", "First preferred", "Second preferred", "No difference"]
        + ["Prefer first, %", "Exact interval, %", "Bootstrap interval, %", "p"]
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
