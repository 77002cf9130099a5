"""Pronunciation lexicons in files."""

import re
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

from pipeline.errors import RecipeError
from pipeline.files import read_utf8

# 9 is none, but a phone in X-SAMPA.
_PROBABILITY = re.compile(r"\d+\.\d+")


def lexicon_lines(path: Path | str) -> Iterator[tuple[int, str, list[str]]]:
    """Line number, word and phones of each line `word PHONE PHONE ...` of a pronunciation lexicon.

    Blank lines are passed over, and so are the probabilities between word and phones in MFA's
    dictionaries: `word 0.99 0.2 1.0 1.0 PHONE PHONE ...`.

    Raises:
        RecipeError: it is not UTF-8.
    """
    for number, line in enumerate(read_utf8(path).splitlines(), 1):
        if line.strip():
            word, *columns = line.split()
            yield number, word, list(dropwhile(_PROBABILITY.fullmatch, columns))


def read_lexicon(path: Path | str) -> dict[str, list[list[str]]]:
    """Pronunciations by word of `lexicon_lines`, the commonest first.

    Raises:
        RecipeError: it is not UTF-8, or a word has no phone.
    """
    lexicon: dict[str, list[list[str]]] = {}
    for number, word, phones in lexicon_lines(path):
        if not phones:
            raise RecipeError(
                f"line {number} of {path} has no phone for '{word}': write `word PHONE PHONE ...`"
            )
        lexicon.setdefault(word, []).append(phones)
    return lexicon
