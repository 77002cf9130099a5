"""Pronunciation dictionaries in files: MFA's, CMUdict's, Kaldi's, and stage 2's `lexicon.txt`."""

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from pipeline.errors import RecipeError
from pipeline.files import read_utf8
from preprocessing.text.characters import INVISIBLE
from preprocessing.text.phones import UNKNOWN

_NUMBER = re.compile(r"\d*\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|[01]")
"""A probability. Other whole numbers are not, since X-SAMPA has vowels such as 9."""
_FIRST_OF_NUMBER = frozenset("0123456789.")
_COMMENT = re.compile(r"^(?:;;;|#).*|[^\S\n]#.*", re.MULTILINE)
_VARIANT = re.compile(r"\(\d+\)$")
_SPECIAL_WORD = re.compile(r"<.*>|\[.*\]|\(.*\)|\{.*\}|!.*")
"""Entries for sounds: `<unk>`, `[laughter]`, `(laugh)`, `{SL}` and `!SIL`, which no text has."""
_LETTERS = str.maketrans("’ʼ＇", "'''", INVISIBLE)


def plain_letters(text: str) -> str:
    """Write every kind of apostrophe as `'`, and leave out invisible characters."""
    return text.translate(_LETTERS)


def lexicon_lines(path: Path | str) -> Iterator[tuple[int, str, list[str]]]:
    """Parse the lines `word PHONE PHONE ...` of a dictionary into line number, word and phones.

    - The probabilities between word and phones in MFA's and Kaldi's dictionaries are skipped:
      `word 0.99 0.2 1.0 1.0 PHONE PHONE ...`. A lone 1 or 0 is a probability if a tab follows it,
      or if every line of the file has a number there; otherwise it is a phone of X-SAMPA.
    - If a line has tabs, all that precedes the first is the word, which may contain blanks.
    - `WORD(2)` is another pronunciation of `WORD`.
    - Blank lines, comments (`;;; ...`, `# ...`) and sounds (`<unk>`, `(laugh)`, `!SIL`) are
      skipped.

    Raises:
        RecipeError: the file is not UTF-8.
    """
    contents = read_utf8(path)
    if "#" in contents or ";;;" in contents:
        contents = _COMMENT.sub("", contents)
    lines = list(map(str.strip, contents.split("\n")))
    all_numbered = all(_numbers(_word_and_columns(line)[1]) for line in lines if line)
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        word, columns = _word_and_columns(line)
        # Most words are letters, for which this is all.
        if not word.isalpha():
            if _SPECIAL_WORD.fullmatch(word):
                continue
            word = plain_letters(_VARIANT.sub("", word))
        if columns and columns[0][0] in _FIRST_OF_NUMBER:
            columns = columns[_probabilities(columns, all_numbered) :]
        yield number, word, columns


def _word_and_columns(line: str) -> tuple[str, list[str]]:
    """Split a line into its word and the columns after it, without probabilities before a tab."""
    word, tab, rest = line.partition("\t")
    if not tab:
        word, *columns = line.split()
        return word, columns
    if "\t" not in rest:
        return word.strip(), rest.split()
    fields = rest.split("\t")
    while len(fields) > 1 and _NUMBER.fullmatch(fields[0].strip()):
        del fields[0]
    return word.strip(), " ".join(fields).split()


def _numbers(columns: list[str]) -> list[str]:
    """Return the numbers at the beginning of the columns."""
    return list(takewhile(_NUMBER.fullmatch, columns))


def _probabilities(columns: list[str], all_numbered: bool) -> int:
    """Count the probabilities before the phones."""
    numbers = _numbers(columns)
    decimals = [i for i, number in enumerate(numbers) if len(number) > 1]
    return decimals[-1] + 1 if decimals else len(numbers[:1]) if all_numbered else 0


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
        if UNKNOWN not in phones:
            lexicon.setdefault(word, []).append(phones)
    return lexicon
