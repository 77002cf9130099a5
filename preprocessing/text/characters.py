"""Characters of English texts as plain ones: typographic marks, entities, markup and accents."""

import html
import re
import unicodedata

INVISIBLE = "\u00ad\u200b\u200e\u200f\u2060\ufeff"
"""soft hyphens, blanks of no width, directions, and byte order marks"""
_TYPOGRAPHIC = str.maketrans(
    {"‘": "'", "’": "'", "´": "'", "`": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "«": '"',
     "»": '"', "–": "-", "‐": "-", "‑": "-", "—": ", ", "…": "...", "™": "", "®": "", "©": "",
     "№": "No.", "′": "'", "″": '"', "½": " 1/2", "¼": " 1/4", "¾": " 3/4",
     "⅓": " 1/3", "⅔": " 2/3"}
    | dict.fromkeys(INVISIBLE, "")
)  # fmt: skip
_ENTITY = re.compile(r"&(?:#\d+|#x[\da-fA-F]+|[A-Za-z]+\d?);")
# Emphasis such as *this*, whose marks touch the words inside and stand apart from those outside.
_EMPHASIS = re.compile(r"(?<![\w*_])(\*{1,3}|_{1,3})(?![\s*_])([^*_\n]*[^\s*_])\1(?![\w*_])")
_LINK = re.compile(r"\[([^\[\]]+)\]\((?:https?:)?[^\s()]*[./][^\s()]*\)")


def plain_characters(text: str) -> str:
    """Replace entities, markup, typographic marks and accented letters by plain characters."""
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = _EMPHASIS.sub(r"\2", _LINK.sub(r"\1", text))
    text = re.sub(r"[^\x00-\x7f]", _decomposed, text.translate(_TYPOGRAPHIC))
    return "".join(c for c in text if not unicodedata.combining(c))


def _decomposed(match: re.Match) -> str:
    """Decompose a character into plain ones, such as a letter with an accent."""
    # Superscripts would become digits (10⁵ as 105), and ≠ would become an equals sign.
    kind = unicodedata.decomposition(match[0])
    if kind.startswith(("<super>", "<circle>", "<fraction>")):
        return match[0]
    if unicodedata.category(match[0]) == "Sm" or match[0] in "\u2009\u202f\u00a0":
        return match[0]
    return unicodedata.normalize("NFKD", match[0])
