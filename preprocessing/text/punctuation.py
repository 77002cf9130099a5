"""Which punctuation stands before, between and after the words of a text."""

from collections.abc import Sequence

from preprocessing.text.phones import SILENCE

MARKS = frozenset('!,.?";:')
"""The punctuation that stands at pauses as a symbol, as in ESPnet's recipe with MFA."""
END = "<sos/eos>"
"""ESPnet's symbol of the end of a sentence."""


def marks_around(words: Sequence[str], text: str) -> list[list[str]]:
    """The marks before the first word and after each word of a text, `[words + 1]`.

    Words are found in the text by their letters and digits, whatever is written between them. After
    a word that is not found, as where a text was written out for its reader, no marks are known
    until the last word, after which the text's last marks stand.

    Args:
        words: of the text, in their order.
        text: as it is written.
    """
    text = text.lower()
    found: list[list[str]] = [[] for _ in range(len(words) + 1)]
    position = _marks(text, 0, found[0])
    for number, word in enumerate(words, 1):
        for letter in filter(str.isalnum, word.lower()):
            position = text.find(letter, position) + 1
            if position == 0:
                ending: list[str] = []
                _marks(text, len(text.rstrip("".join(MARKS) + " ")), ending)
                found[-1] = ending
                return found
        position = _marks(text, position, found[number])
    return found


def _marks(text: str, position: int, found: list[str]) -> int:
    """Collect marks until the next letter or digit, and return its position."""
    while position < len(text) and not text[position].isalnum():
        if text[position] in MARKS:
            found.append(text[position])
        position += 1
    return position


def pause_symbols(marks: Sequence[str], known: frozenset[str]) -> list[str]:
    """The symbols of a pause with these marks: those that are known, or silence."""
    return [mark for mark in marks if mark in known] or [SILENCE]
