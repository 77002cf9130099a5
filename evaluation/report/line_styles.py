"""Colours and dashes of the systems, the same in all figures."""

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666"]
LINES = ["-", "--", "-.", ":"]
REFERENCE_STYLES = {
    "natural": {"color": "black", "linestyle": ":", "marker": "s"},
    "vocoded": {"color": "#999999", "linestyle": ":", "marker": "^"},
}


def line_style(number: int) -> dict[str, str]:
    """Style of the trained system with this number; the first 28 all differ."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number % len(LINES)]}
