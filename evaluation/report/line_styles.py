"""How systems are told apart in figures, the same in all of them."""

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666"]
LINES = ["-", "--", "-.", ":"]
REFERENCES = {
    "natural": {"color": "black", "linestyle": ":", "marker": "s"},
    "vocoded": {"color": "#999999", "linestyle": ":", "marker": "^"},
}


def line_style(number: int) -> dict[str, str]:
    """Colour and dashes of the trained system of this number; no two of the first 28 are alike."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number % len(LINES)]}
