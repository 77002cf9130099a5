"""Numbers as text, and rows of text as markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Iterable, Sequence

ESCAPES = {character: f"\\{character}" for character in "%&_#${}"}
ESCAPES |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
SIGNS = {"→": r"$\rightarrow$", "±": r"$\pm$", "−": r"$-$", "<": r"$<$"}


def percent(fraction: float, decimals: int = 0) -> str:
    return f"{100 * fraction:.{decimals}f}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is the heading; all columns but the first are right-aligned."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    rule = "|---|" + "---:|" * (len(rows[0]) - 1)
    return "\n".join([head, rule, *body]) + "\n"


def latex(rows: Sequence[Sequence[str]]) -> str:
    """A booktabs tabular."""
    escapes = str.maketrans(ESCAPES | SIGNS)
    head, *body = [" & ".join(cell.translate(escapes) for cell in row) + r" \\" for row in rows]
    columns = "l" + "r" * (len(rows[0]) - 1)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def comma_separated(rows: Iterable[Sequence]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
