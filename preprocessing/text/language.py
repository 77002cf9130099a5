"""What a corpus's language is made of: a text normaliser, words, pronunciations and phones.

English is preprocessing.text.english, unless the corpus's configuration has a section `language`.
"""

import re
import sys
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from omegaconf import DictConfig

from pipeline.errors import FaultsError, RecipeError
from preprocessing.text import english as text
from preprocessing.text.phones import ARPABET, PAUSE, SILENCES, UNKNOWN

Lexicon = Mapping[str, list[list[str]]]


@dataclass(frozen=True)
class Language:
    """From a written text to phones."""

    normalise: Callable[[str], str]
    """a text as it is spoken, of one as it is written"""
    tokens: Callable[[str], list[str]]
    """words and pauses of a normalised text; raises RecipeError of an empty one"""
    pronunciations: Callable[[str], list[list[str]]]
    """of one of these words, the commonest first; raises RecipeError where there is none"""
    phones: frozenset[str]
    """that a TextGrid may have beside silences"""


ENGLISH = Language(text.normalise, text.tokens, text.pronunciations, ARPABET)


def corpus_language(corpus: DictConfig) -> Language:
    """The language of a corpus, by `language` in its configuration, or English.

    - `normaliser`: the name of a function from a text to a text, such as `my_project.german`;
      null changes nothing but Unicode's form.
    - `lexicon`: a file with a line `word PHONE PHONE ...` for each pronunciation, the commonest
      first, such as a dictionary of MFA's. Upper and lower case are the same.
    - `phones`: a list of the phones that may be; null takes those of the lexicon.

    Raises:
        RecipeError: the lexicon is missing or has faults, or there is no such function.
    """
    settings = corpus.get("language")
    if settings is None:
        return ENGLISH
    path = Path(settings.lexicon)
    if not path.exists():
        raise RecipeError(f"corpus.language.lexicon={path} is not there: name a file of words")
    lexicon = _read_lexicon(path, path.stat().st_mtime_ns, tuple(settings.phones or ()))
    phones = {phone for variants in lexicon.values() for each in variants for phone in each}

    def pronunciations(word: str) -> list[list[str]]:
        if word not in lexicon:
            raise RecipeError(f"the word '{word}' is not in {path}: add it there")
        return lexicon[word]

    normalise = _function(settings.normaliser) if settings.normaliser else _composed
    known = frozenset(settings.phones or phones)
    return Language(normalise, _words, pronunciations, known)


@cache
def _read_lexicon(path: Path, modified: int, phones: tuple[str, ...]) -> Lexicon:
    """Read and checked once a process for each state of the file, since every stage's part asks."""
    lexicon: dict[str, list[list[str]]] = {}
    reserved, faults = SILENCES | {UNKNOWN}, []
    for number, word, pronunciation in text.lexicon_lines(path):
        # Weg and weg are one word, with the pronunciations of both.
        variants = lexicon.setdefault(_composed(word).lower(), [])
        if pronunciation not in variants:
            variants.append(pronunciation)
        line = f"line {number}, {word}"
        if not pronunciation:
            faults.append((line, "has no phone"))
        elif wrong := sorted(reserved.intersection(pronunciation)):
            faults.append((line, f"has {', '.join(wrong)}, which means silence or an unknown word"))
        elif phones and (wrong := sorted(set(pronunciation).difference(phones))):
            faults.append((line, f"has {', '.join(wrong)}, which corpus.language.phones lacks"))
    if faults or not lexicon:
        raise FaultsError(f"reading {path}", faults, "Write lines `word PHONE PHONE ...`.")
    return lexicon


def _composed(written: str) -> str:
    return unicodedata.normalize("NFC", written)


def _function(name: str) -> Callable[[str], str]:
    from hydra.errors import HydraException
    from hydra.utils import get_method

    try:
        return get_method(name)
    except (HydraException, ImportError, ValueError) as error:
        raise RecipeError(
            f"corpus.language.normaliser={name} is not a function that can be imported: {error}"
        ) from error


@cache
def _word_or_pause() -> re.Pattern:
    """Words of letters, digits and marks, and the punctuation between them.

    Marks are the vowels of Devanagari or Thai, which `\\w` lacks; joiners are inside words too.
    """
    characters = map(chr, range(sys.maxunicode + 1))
    marks = "".join(c for c in characters if unicodedata.category(c).startswith("M"))
    marks += "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
    part = rf"[^\W_](?:[^\W_]|[{marks}])*"
    return re.compile(rf"(?P<word>{part}(?:['’-]{part})*)|(?P<pause>[^\w\s'’\"{marks}-]+)")


def _words(normalised: str) -> list[str]:
    """Words in lower case, with `PAUSE` at punctuation inside; digits are words as they stand."""
    matches = _word_or_pause().finditer(_composed(normalised))
    found = (match["word"].lower() if match["word"] else PAUSE for match in matches)
    return text.clauses(found, normalised)
