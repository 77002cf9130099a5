"""English: from written text to spoken words and pauses.

Phones are ARPAbet with stress, as in CMUdict; `sp` is a pause inside a sentence. Heavy packages are
imported only when a text needs them, because `make say` waits for this module.
"""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

from pipeline.errors import RecipeError
from preprocessing.text.abbreviations import expand_abbreviations, letter
from preprocessing.text.characters import plain_characters
from preprocessing.text.numbers import write_out_numbers
from preprocessing.text.phones import CONSONANTS, PAUSE, VOWELS
from preprocessing.text.pronunciation import ACRONYM, dictionary

_SYMBOLS = {"%": " percent", "&": " and ", "@": " at ", "+": " plus ", "=": " equals ",
            "−": " minus ", "×": " times ", "÷": " divided by ", "±": " plus or minus ",
            "≠": " is not equal to ", "≈": " is about ", "≤": " is at most ", "≥": " is at least ",
            "§": " section ", "*": " star "}  # fmt: skip
_SLASHES = re.compile(r"(?<!\S)[A-Za-z]{3,}(?:\s?/\s?[A-Za-z]{3,})+(?![\w/.:@]*[\w/])")
"""Words with slashes between them, but not addresses such as nvidia.com/drive."""
_LETTER_A = re.compile(r"(?<=[a-z] )A(?=[,;:!?)]|\.(?!\w)|\s+[a-z]|\s*$)")
"""The letter, as in "the letter A"; the article would not be a capital there."""
_LETTERS = frozenset("AD AI CA CO CT EU GA IA ID IL LA MA MI MO NE PA SA UN US VA".split())
"""Abbreviations that CMUdict has as other words, such as "us"."""
_PAIR = re.compile(r"\b([A-Z]{1,3})&([A-Z]{1,3})\b")
_INLINE = re.compile(r"\{([^{}]*)\}")
_TOKEN = re.compile(
    r"(?P<inline>\{[^{}]*\})"
    r"|(?P<initials>(?:[A-Za-z]\.){2,}(?:'s\b)?)"
    r"|(?P<word>[A-Za-z]+(?:['-][A-Za-z]+)*)"
    r"|(?P<pause>[.,;:!?()\[\]]+|--+|\s-+(?=\s))"
    r"|(?P<ignored>[\s\"'/-])"
)


def _write_out_slashes(text: str) -> str:
    return _SLASHES.sub(lambda match: match[0].replace("/", " slash "), text)


def _write_out_symbols(text: str) -> str:
    text = re.sub(r"(?<=[A-Za-z]{2})\.(?=[A-Za-z]{2})", " dot ", text)
    text = re.sub(r"#(?=[A-Za-z])|(?<=[A-Za-z])#", " hash ", text).replace("#", " pound ")
    for symbol, spoken in _SYMBOLS.items():
        text = text.replace(symbol, spoken)
    return re.sub(r"\s+", " ", text)


def _spell_pairs(text: str) -> str:
    """Spell acronyms such as AT&T."""
    return _PAIR.sub(lambda match: f"{_letters(match[1])} and {_letters(match[2])}", text)


def _letters(letters: str) -> str:
    """Write letters so that each is spoken by its name."""
    return letter(letters) if len(letters) == 1 else ".".join(letters) + "."


_STEPS = {
    "characters": plain_characters,
    "slashes": _write_out_slashes,
    "numbers": write_out_numbers,
    "acronyms": _spell_pairs,
    "abbreviations": expand_abbreviations,
    "symbols": _write_out_symbols,
}
"""The steps from a written text to a spoken one, in order."""


def normalise(text: str) -> str:
    """Write out numbers, abbreviations and symbols; keep case, punctuation and `{PHONES}`.

    Returns:
        The text as it is spoken.
    """
    parts = _INLINE.split(text)
    for i in range(0, len(parts), 2):
        for step in _STEPS.values():
            parts[i] = step(parts[i])
    written = (f"{{{part}}}" if i % 2 else part for i, part in enumerate(parts))
    return re.sub(r"\s+([.,;:!?])", r"\1", "".join(written)).strip()


_AMBIGUOUS = [
    (re.compile(pattern), doubt)
    for pattern, doubt in (
        (r"\b(?:0?[1-9]|1[0-2])[/.](?:0?[1-9]|1[0-2])[/.]\d{2,4}\b", "month or day first"),
        (r"(?<![\d/])\d+/\d+\b(?!/)", "fraction, date or alternative"),
        (
            r"1[1-3](?:st|nd|rd)\b|(?<!1)(?:1(?:nd|rd|th)|2(?:st|rd|th)|3(?:st|nd|th))\b"
            r"|[04-9](?:st|nd|rd)\b",
            "ordinal with the ending of another number",
        ),
        (r"\d\s?-\s?\d", "range, score, difference or number with hyphens"),
        (r"(?<![\d$£€.,:-])1[1-9]\d\d\b(?![,.:]\d)", "year or number"),
        (r"\b\d{1,2}:\d\d\b", "time, ratio or verse"),
        (r"\b(?:St|Dr)\b", "saint or street, doctor or drive"),
        (r"\b[IVXL]+\b(?!\.?\w)", "Roman numeral or letters"),
    )
]
"""Written words that have several readings, of which one is guessed."""


def replacements(text: str) -> list[tuple[str, str, str, str]]:
    """List what `normalise` replaces in a text.

    Changes of punctuation alone are not listed.

    Returns:
        The written words, the spoken words, the step, and what else the written words can mean,
        which is empty if they are not ambiguous.
    """
    found = []
    for part in _INLINE.split(text)[::2]:
        for name, step in _STEPS.items():
            before, after = part.split(), (part := step(part)).split()
            bare = [
                [re.sub(r"[^\w*]", "", word).lower() for word in words] for words in (before, after)
            ]
            matcher = SequenceMatcher(None, *bare, autojunk=False)
            for kind, i, j, k, m in matcher.get_opcodes():
                if kind != "equal":
                    written, spoken = " ".join(before[i:j]), " ".join(after[k:m])
                    doubts = (doubt for pattern, doubt in _AMBIGUOUS if pattern.search(written))
                    found.append((written, spoken, name, next(doubts, "")))
    return found


def _inline_phones(content: str, text: str) -> list[str]:
    """Return the phones of an inline pronunciation `{HH AH0 L OW1}`; refuse unknown phones."""
    phones = content.split()
    known = CONSONANTS | {vowel + stress for vowel in VOWELS for stress in "012"}
    unknown = [phone for phone in phones if phone not in known]
    if unknown or not phones:
        raise RecipeError(
            f"{{{content}}} in '{text}' is not a pronunciation"
            + (f": no phone is called {', '.join(unknown)}" if unknown else "")
            + ". Write ARPAbet phones with stress in braces, such as {HH AH0 L OW1}"
        )
    return phones


def tokens(text: str) -> list[str]:
    """Split a normalised text into words, with `PAUSE` at each clause boundary inside it.

    Words are in lower case, except initials (`A.M.`), unknown acronyms (`PBX`) and inline
    pronunciations (`{HH_AH0_L_OW1}`, with an underscore for each blank).

    Raises:
        RecipeError: the text is empty, or has a character that cannot be pronounced.
    """
    found: list[str] = []
    position = 0
    capitals = _is_in_capitals(text)
    letters = {match.start() for match in _LETTER_A.finditer(text)}
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise RecipeError(
                f"the character {text[position]!r} in '{text}' cannot be pronounced: "
                "write it as words, or remove it"
            )
        position = match.end()
        if match["inline"]:
            found.append("{" + "_".join(_inline_phones(match["inline"][1:-1], text)) + "}")
        elif match["initials"]:
            found.append(match["initials"].upper().replace("'S", "'s"))
        elif match.start() in letters:
            found.append(letter("A"))
        elif match["word"]:
            found += _known_parts(match["word"], capitals)
        elif match["pause"]:
            found.append(PAUSE)
    return merge_pauses(found, text)


def merge_pauses(found: Iterable[str], text: str) -> list[str]:
    """Merge adjacent pauses into one, and remove those at both ends of the text.

    Args:
        found: words and pauses.
        text: the text that they come from, for the message.

    Raises:
        RecipeError: there are no words.
    """
    kept: list[str] = []
    for token in found:
        if token != PAUSE or (kept and kept[-1] != PAUSE):
            kept.append(token)
    if kept and kept[-1] == PAUSE:
        kept.pop()
    if not kept:
        raise RecipeError(f"the text {text!r} is empty: it has no word to pronounce")
    return kept


def _is_in_capitals(text: str) -> bool:
    """Tell whether capitals mean nothing: there are no other letters, and half the words are known.

    The words of such a text are no acronyms.
    """
    words = re.findall(r"[A-Z][A-Z']+", text)
    if len(words) < 2 or re.search("[a-z]", _INLINE.sub("", text)):
        return False
    return 2 * sum(word.lower() in dictionary() for word in words) >= len(words)


def _known_parts(word: str, capitals: bool) -> list[str]:
    """Return a word as the dictionary has it, or the parts between its hyphens."""
    if word in _LETTERS and not capitals:
        return [_letters(word)]
    if word.lower() in dictionary():
        return [word.lower()]
    return [part if _is_acronym(part, capitals) else part.lower() for part in word.split("-")]


def _is_acronym(word: str, capitals: bool) -> bool:
    if capitals:
        return not re.search("[AEIOUY]", word)
    return bool(ACRONYM.fullmatch(word)) or word.isupper() and len(word) > 1
