"""Tables of the analysis of a listening test."""

from collections.abc import Callable
from pathlib import Path

from evaluation.listening.design import BEST_WORST, LEVELS, MUSHRA, PREFERENCE, RATING
from evaluation.report.formats import percent
from pipeline.errors import RecipeError
from pipeline.files import read_json


def read_analysis(folder: Path) -> dict:
    """Read preferences.json in a listening test's folder; without one, return an empty dict.

    Raises:
        RecipeError: an earlier version wrote it.
    """
    path = folder / "preferences.json"
    analysis = read_json(path) if path.exists() else {}
    if analysis and "mushra" not in analysis:
        raise RecipeError(f"{path} is of an earlier version: run `make preferences` again")
    return analysis


def listening_tables(analysis: dict) -> list[tuple[str, str, list[list[str]], str]]:
    """Make a table for each kind of trial that was answered: (name, title, rows, note)."""
    listeners = (
        f"{analysis['listeners']} listeners, {analysis['headphones']} of them with headphones. "
        f"Left out: {analysis['failed_checks']} listeners who failed an attention check and "
        f"{analysis['refused']} invalid answer files or lines."
    )
    bootstrap = "Intervals are of 95 %, by a bootstrap over listeners and sentences."
    screened = (
        f"{analysis['post_screened']} more are left out by the rule of ITU-R BS.1534-3: in more "
        "than 15 % of their trials they score the hidden reference below 90 or the middle anchor "
        "above 90. The anchors are the reference below 7 and 3.5 kHz."
    )
    more_best = "The score is the share of trials in which a system is best, less that of worst."
    tables = [
        (
            "preference",
            "Preference by listeners",
            _preferences(analysis),
            f"{listeners} Shares are of the answers that prefer one system. Both intervals are of "
            "95 %: the exact binomial one treats answers as independent, the bootstrap resamples "
            "listeners and sentences. p is of the exact binomial test against 50 %, with Holm's "
            f"correction. {_agreement(analysis, PREFERENCE)}",
        )
    ]
    for kind, name, title, heading, note in (
        (RATING, "ratings", "Mean opinion score by listeners", "MOS", ""),
        (BEST_WORST, "best_worst", "Best and worst of three by listeners", "Score", more_best),
        (MUSHRA, "mushra", "MUSHRA by listeners", "Score, 0 to 100", screened),
    ):
        about = " ".join(filter(None, [listeners, note, bootstrap, _agreement(analysis, kind)]))
        tables.append((name, title, _scores(analysis, name, heading), about))
    names = {"ratings": "listeners_mos"}
    return [(names.get(name, name), *rest) for name, *rest in tables if len(rest[1]) > 1]


def _agreement(analysis: dict, kind: str) -> str:
    return f"Agreement (Krippendorff's alpha, {LEVELS[kind]}): {_alpha(analysis, kind)}."


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
        if not each["answers"]:
            continue
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


def _scores(analysis: dict, name: str, heading: str) -> list[list[str]]:
    rows = [["System", heading, "Interval", "Median", "Answers"]]
    for system, each in analysis[name].items():
        numbers = [f"{each['mean']:.2f}", _interval(each["bootstrap"], lambda v: f"{v:.2f}")]
        numbers += [f"{each['median']:g}", str(each["answers"])]
        rows.append([analysis["labels"][system], *numbers])
    return rows
