"""Pronunciation dictionaries in files."""

import re
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

from pipeline.errors import RecipeError
from pipeline.files import read_utf8

# A number without a decimal point may be a phone: 9 is a vowel in X-SAMPA.
_PROBABILITY = re.compile(r"\d+\.\d+")


def lexicon_lines(path: Path | str) -> Iterator[tuple[int, str, list[str]]]:
    """Parse the lines `word PHONE PHONE ...` of a dictionary into line number, word and phones.

    Blank lines are skipped, and so are the probabilities between word and phones in MFA's
    dictionaries: `word 0.99 0.2 1.0 1.0 PHONE PHONE ...`.

    Raises:
        RecipeError: the file is not UTF-8.
    """
    for number, line in enumerate(read_utf8(path).splitlines(), 1):
        if line.strip():
            word, *columns = line.split()
            yield number, word, list(dropwhile(_PROBABILITY.fullmatch, columns))


def read_lexicon(path: Path | str) -> dict[str, list[list[str]]]:
    """Read the pronunciations by word, in the order of their lines.

    Raises:
        RecipeError: the file is not UTF-8, or a word has no phone.
    """
    lexicon: dict[str, list[list[str]]] = {}
    for number, word, phones in lexicon_lines(path):
        if not phones:
            raise RecipeError(
                f"line {number} of {path} has no phone for '{word}': write `word PHONE PHONE ...`"
            )
        lexicon.setdefault(word, []).append(phones)
    return lexicon
