"""Reads TextGrid files by the rules of Praat's manual ("TextGrid file formats").

In both of Praat's text formats, long and short, only strings in double quotes, numbers between
white space and flags such as `<exists>` count. Everything else, such as `xmin =` or
`intervals [1]:`, is a comment. So one reader reads both formats, with any line ends and labels.
"""

import codecs
import re
from pathlib import Path

Row = tuple[float, float, str]
"""start and end in seconds, and a label"""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TOKEN = re.compile(
    r'"(?P<string>(?:[^"]|"")*)"'  # A quote inside a string is doubled.
    rf"|(?<!\S)(?P<number>{_NUMBER})(?!\S)"
    r"|(?P<flag><\w+>)"
    r"|(?<!\S)![^\r\n]*"  # a comment up to the end of the line
    r'|(?P<quote>")'  # the beginning of a string that does not end
)


def read_interval_tiers(path: Path) -> list[tuple[str, list[Row]]]:
    """Read the names and intervals of a TextGrid's interval tiers.

    The file may be in UTF-8, or in UTF-16, which Praat writes. MFA 3.0.0 states fewer intervals
    than there are, so all those that are there are read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a TextGrid, or it is damaged or cut short.
    """
    contents = path.read_bytes()
    is_utf16 = contents.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    tokens = _Tokens(contents.decode("utf-16" if is_utf16 else "utf-8-sig"))
    if not (tokens.string().startswith("ooTextFile") and tokens.string() == "TextGrid"):
        raise ValueError("it does not begin as a TextGrid does")
    tokens.number(), tokens.number()
    stated = int(tokens.number()) if tokens.flag() == "<exists>" else 0
    tiers, count = [], 0
    while not tokens.at_end():
        kind, name = tokens.string(), tokens.string()
        if kind not in ("IntervalTier", "TextTier"):
            raise ValueError(f"unknown kind of tier: {kind}")
        tokens.number(), tokens.number()
        size, rows = int(tokens.number()), []
        while tokens.at_number():
            start = tokens.number()
            end = tokens.number() if kind == "IntervalTier" else start
            if end < start - 1e-4:  # Aligners round their times.
                raise ValueError(f"an interval ends at {end} s, before it begins at {start} s")
            rows.append((start, end, tokens.string()))
        if len(rows) < size:
            raise ValueError(f"it is cut short: {len(rows)} of {size} intervals in tier '{name}'")
        count += 1
        if kind == "IntervalTier":
            tiers.append((name, rows))
    if count < stated:
        raise ValueError(f"it is cut short: {count} of {stated} tiers")
    return tiers


class _Tokens:
    """The tokens of a file, to be taken one after the other."""

    def __init__(self, text: str):
        self._tokens = [match for match in _TOKEN.finditer(text) if match.lastgroup]
        self._next = 0

    def at_end(self) -> bool:
        return self._next == len(self._tokens)

    def at_number(self) -> bool:
        return not self.at_end() and self._tokens[self._next].lastgroup == "number"

    def string(self) -> str:
        return self._take("string").replace('""', '"')

    def number(self) -> float:
        return float(self._take("number"))

    def flag(self) -> str:
        return self._take("flag")

    def _take(self, kind: str) -> str:
        if self.at_end():
            raise ValueError("it is cut short")
        match = self._tokens[self._next]
        self._next += 1
        if match.lastgroup == "quote":
            raise ValueError("it is cut short within a label")
        if match.lastgroup != kind:
            raise ValueError(f"{match[0]} where a {kind} should be")
        return match[kind]
