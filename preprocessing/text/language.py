"""A corpus's language: its text normaliser, words, pronunciations and phones.

A corpus is in English, unless its configuration has a section `language`.
"""

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.errors import FaultsError, RecipeError
from preprocessing.settings import LanguageSettings
from preprocessing.text import english, pronunciation
from preprocessing.text.letter_to_sound import read_rules
from preprocessing.text.lexicon import lexicon_lines, plain_letters
from preprocessing.text.phones import ARPABET, PAUSE, SILENCES, UNKNOWN

_NO_PHONE = {
    re.compile(r"[(),]"): "part of a Python tuple rather than a phone",
    re.compile(r"[][]"): "HTK's output symbol rather than a phone",
    re.compile(r"^/.|./$"): "a whole pronunciation in slashes: separate its phones by blanks",
}
Lexicon = Mapping[str, list[list[str]]]


@dataclass(frozen=True)
class Language:
    """The functions that turn a written text into phones."""

    normalise: Callable[[str], str]
    """Turns a written text into a spoken one."""
    tokens: Callable[[str], list[str]]
    """Splits a normalised text into words and pauses. Raises RecipeError if it is empty."""
    pronunciations: Callable[[str], list[list[str]]]
    """Gives a word's pronunciations, the commonest first. Raises RecipeError if it has none."""
    phones: frozenset[str]
    """The phones that a TextGrid may contain beside silences."""
    replacements: Callable[[str], list[tuple[str, str, str, str]]] = lambda text: []
    """Lists the written and spoken words where normalising changes a text, the rule, and whether
    the written words are ambiguous."""
    connected: Callable[[list[str]], list[list[str]]] | None = None
    """Gives the phones of each word and pause of a text, where they depend on its neighbours."""


ENGLISH = Language(
    english.normalise,
    english.tokens,
    pronunciation.pronunciations,
    ARPABET,
    english.replacements,
)


def corpus_language(settings: LanguageSettings | None) -> Language:
    """Return the language that the section `language` of a corpus describes; English without it.

    - `normaliser`: the name of a function from text to text, such as `my_project.german`; null
      only composes Unicode characters (NFC).
    - `lexicon`: a pronunciation dictionary such as MFA's, with a line `word PHONE PHONE ...` for
      each pronunciation, the commonest first. Upper and lower case are the same.
    - `phones`: a list of the allowed phones; null allows all that are in the lexicon.
    - `phonology`: optionally, the name of a class such as `russian.Russian`. Made from the lexicon
      and from the letter-to-sound rules in the file `rules`, it guesses words that the lexicon
      lacks, and turns the phonemes of words into the phones of connected speech.

    Raises:
        RecipeError: the lexicon is missing or has faults, or the normaliser cannot be imported.
    """
    if settings is None:
        return ENGLISH
    path = Path(settings.lexicon)
    if not path.exists():
        raise RecipeError(f"corpus.language.lexicon={path} does not exist: name a dictionary")
    lexicon, phones = _read_lexicon(path, path.stat().st_mtime_ns, tuple(settings.phones or ()))
    phonology = None
    if settings.phonology:
        phonology = _imported("phonology", settings)(lexicon, read_rules(Path(settings.rules)))

    def pronunciations(word: str) -> list[list[str]]:
        if word in lexicon:
            return lexicon[word]
        if phonology is None:
            raise RecipeError(f"the word '{word}' is not in {path}: add it")
        try:
            return [phonology.guess(word)]
        except ValueError as error:
            raise RecipeError(f"the word '{word}' cannot be pronounced: {error}") from error

    def connected(tokens: list[str]) -> list[list[str]]:
        return phonology.connected(
            [[PAUSE] if token == PAUSE else pronunciations(token)[0] for token in tokens]
        )

    return Language(
        _imported("normaliser", settings) if settings.normaliser else _composed,
        _words,
        pronunciations,
        frozenset(settings.phones or phones),
        connected=connected if phonology else None,
    )


class _Pronunciations(Lexicon):
    """The pronunciations of many words, kept as strings.

    Hundreds of thousands of lists would take seconds to make, and `make say` needs few of them.
    """

    def __init__(self) -> None:
        self._rows: dict[str, str] = {}

    def add(self, word: str, phones: list[str]) -> None:
        """Add a pronunciation, unless the word has it already."""
        row, rows = " ".join(phones), self._rows.get(word)
        if rows is None:
            self._rows[word] = row
        elif row not in rows.split("\n"):
            self._rows[word] = f"{rows}\n{row}"

    def __getitem__(self, word: str) -> list[list[str]]:
        return [row.split(" ") for row in self._rows[word].split("\n")]

    def __contains__(self, word: object) -> bool:
        return word in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


@cache
def _read_lexicon(
    path: Path, modified: int, phones: tuple[str, ...]
) -> tuple[Lexicon, frozenset[str]]:
    """Read and check a lexicon.

    The cache serves all tasks of a process; `modified` (ns) makes it follow changes of the file.

    Returns:
        The pronunciations of each word, and all their phones.
    """
    lexicon, faults = _Pronunciations(), []
    right: set[str] = set()
    for number, word, spoken in lexicon_lines(path):
        # `Weg` and `weg` are the same word and share their pronunciations.
        lexicon.add(_composed(word).lower(), spoken)
        if not spoken:
            faults.append((f"line {number}, {word}", "has no phone"))
        elif not right.issuperset(spoken):
            found = {phone: _phone_fault(phone, phones) for phone in spoken}
            right.update(phone for phone, fault in found.items() if not fault)
            wrong = (f"has {phone}, {fault}" for phone, fault in found.items() if fault)
            faults += [(f"line {number}, {word}", reason) for reason in wrong][:1]
    if faults or not lexicon:
        raise FaultsError(f"reading {path}", faults, "Write lines `word PHONE PHONE ...`.")
    return lexicon, frozenset(right)


def _phone_fault(phone: str, phones: tuple[str, ...]) -> str | None:
    """Say why a label in a lexicon is no phone of this language, or return None."""
    if phone in SILENCES or phone == UNKNOWN:
        return "meaning silence or an unknown word"
    for pattern, meaning in _NO_PHONE.items():
        if pattern.search(phone):
            return meaning
    return "not in corpus.language.phones" if phones and phone not in phones else None


def _composed(written: str) -> str:
    """Compose letters and their marks into one character each (Unicode NFC)."""
    return unicodedata.normalize("NFC", written)


def _imported(setting: str, language: LanguageSettings) -> Callable:
    """Import the function or class that a setting of the language names."""
    from hydra.errors import HydraException
    from hydra.utils import get_object

    name = getattr(language, setting)
    try:
        return get_object(name)
    except (HydraException, ImportError, ValueError) as error:
        raise RecipeError(f"cannot import corpus.language.{setting}={name}: {error}") from error


@cache
def _word_or_pause() -> re.Pattern:
    """Compile the pattern of a word, or of the punctuation between words.

    A word has letters, digits, joiners and marks. `\\w` does not match marks, such as the vowels of
    Devanagari and Thai.
    """
    characters = map(chr, range(sys.maxunicode + 1))
    marks = "".join(c for c in characters if unicodedata.category(c).startswith("M"))
    marks += "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
    part = rf"[^\W_](?:[^\W_]|[{marks}])*"
    return re.compile(rf"(?P<word>{part}(?:['-]{part})*)|(?P<pause>[^\w\s'\"{marks}-]+)")


def _words(normalised: str) -> list[str]:
    """Split a text into words in lower case, with `PAUSE` at punctuation. Numbers are words."""
    matches = _word_or_pause().finditer(plain_letters(_composed(normalised)))
    found = (match["word"].lower() if match["word"] else PAUSE for match in matches)
    return english.merge_pauses(found, normalised)
