"""Word and character errors of a transcript."""

import re
from collections.abc import Iterator

import jiwer
from num2words import num2words
from whisper_normalizer.english import EnglishTextNormalizer

from preprocessing.text.english import normalise

_BRACKETS = str.maketrans(dict.fromkeys("[]()<>", " "))
_NUMBER = re.compile(
    r"(?<![\w.,:/-])(?P<symbol>[$£€])?(?P<digits>\d[\d,]*)(?P<full_hour>:00)?(?![\w:/%]|[.,-]\d)"
)
_CURRENCIES = {"$": "dollar", "£": "pound", "€": "euro"}
_COMPOUND = re.compile(r"\w+(?:-\w+)+|\b(?:[A-Za-z]\.)+[A-Za-z]\b\.?")


class ErrorRates:
    """Counts the word and character errors of a transcript against the text that was spoken.

    Both texts are compared as they are spoken: numbers, symbols and abbreviations are written out
    as they are for synthesis, and words in brackets are kept. Then Whisper's rules for English
    follow, except those for numbers: they expand contractions, unify spellings and remove filler
    words and punctuation. What cannot be heard is no error:

    - A number that the transcript has in digits is read as the reference says it, if that is one
      of its readings: 105 as "one hundred five" or "one oh five".
    - A word with hyphens or dots counts as one word where the other text writes it as one:
      re-record and rerecord, F.B.I. and FBI.

    Characters are those of the same words with numbers in digits, as Whisper's rules write them.

    A sentence's errors are capped at the number of words (or characters) of its reference.
    Otherwise a recogniser that invents text on noise would outweigh all other sentences.
    """

    def __init__(self):
        self._whisper_rules = EnglishTextNormalizer()
        self._in_digits = self._whisper_rules.standardize_numbers
        # Digits would join the two numbers of "twenty-two, nineteen sixty-three".
        self._whisper_rules.standardize_numbers = str

    def normalise(self, text: str) -> str:
        """The text as it is compared: the spoken words in lower case, separated by blanks."""
        spoken = normalise(text).replace("{EY1}", "A")
        words = self._whisper_rules(spoken.translate(_BRACKETS))
        words = "".join(c if c.isalnum() else " " for c in words)
        words = re.sub(r"\bper cent\b", "percent", " ".join(words.split()))
        return re.sub(r"\b([ap]) m\b", r"\1m", words)

    def errors(self, reference: str, hypothesis: str) -> dict[str, int]:
        """Count words, word_errors, characters and character_errors of one sentence.

        All are zero where normalisation leaves nothing of the reference, as with "Hmm.", which is
        a filler word to Whisper.
        """
        reference, hypothesis = (
            _joined_like(reference, hypothesis),
            _joined_like(hypothesis, reference),
        )
        reference = self.normalise(reference)
        # Without its digits, a date or an address may not be recognised as one: try both.
        written = {hypothesis, _read_like(hypothesis, reference)}
        found = [jiwer.process_words(reference, self.normalise(each)) for each in sorted(written)]
        words = min(found, key=_edits)
        hypothesis = " ".join(words.hypotheses[0])
        counts = {"words": len(reference.split())}
        reference, hypothesis = self._in_digits(reference), self._in_digits(hypothesis)
        characters = jiwer.process_characters(reference, hypothesis)
        counts["characters"] = len(reference)
        for name, output, limit in (
            ("word_errors", words, counts["words"]),
            ("character_errors", characters, counts["characters"]),
        ):
            counts[name] = min(_edits(output), limit)
        return counts


def _edits(output: jiwer.WordOutput | jiwer.CharacterOutput) -> int:
    return output.substitutions + output.deletions + output.insertions


def _joined_like(text: str, other: str) -> str:
    """Join the words with hyphens or dots in `text` that `other` writes as one word."""
    others = set(re.findall(r"\w+", other.lower()))

    def joined(match: re.Match) -> str:
        word = re.sub(r"[-.]", "", match[0])
        return word if word.lower() in others else match[0]

    return _COMPOUND.sub(joined, text)


def _read_like(text: str, reference: str) -> str:
    """Write out the numbers in digits of which the normalised `reference` contains a reading."""

    def read(match: re.Match) -> str:
        found = (each for each in _readings(match) if f" {each} " in f" {reference} ")
        return max(found, key=len, default=match[0])

    return _NUMBER.sub(read, text)


def _readings(match: re.Match) -> Iterator[str]:
    """The ways in which a number in digits is read, in lower-case words without hyphens."""
    digits = match["digits"].replace(",", "")
    number = int(digits)
    units = [""]
    if match["full_hour"]:
        units = [" o clock", ""]
    elif match["symbol"]:
        units = [f" {_CURRENCIES[match['symbol']]}{'s' * (number != 1)}"]
    forms = [" ".join(num2words(int(digit)) for digit in digits)]
    forms += [forms[0].replace("zero", "oh")]
    if len(digits) <= 9:
        forms += [num2words(number).replace(",", "")]
    if len(digits) <= 4:
        forms += [num2words(number, to="year")]
    if number <= 31:
        forms += [num2words(number, to="ordinal")]
    for form in forms:
        form = form.replace("-", " ")
        for words in (form, form.replace(" and ", " ")):
            for unit in units:
                yield words + unit
                yield re.sub(r"^one (?=hundred|thousand|million)", "a ", words) + unit
