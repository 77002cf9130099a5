"""From text to phones, for synthesis."""

from collections.abc import Iterable, Mapping

from preprocessing.text.language import ENGLISH, Language
from preprocessing.text.phones import PAUSE, SILENCE, VOWELS
from preprocessing.text.punctuation import MARKS, marks_around


class Pronouncer:
    """Turns texts into phones for synthesis.

    Args:
        lexicon: pronunciations that take precedence over the dictionary's, such as those that the
            aligner heard the corpus's speaker use (stage 2's `lexicon.txt`, read by
            `read_lexicon`).
        symbols: the phones that a model knows. If it does not know an ARPAbet vowel with this
            stress, the vowel takes the nearest stress that it knows, or none if the model was
            trained on phones without stress.
        language: the language of the texts.
    """

    def __init__(
        self,
        lexicon: Mapping[str, list[list[str]]] | None = None,
        symbols: Iterable[str] | None = None,
        language: Language = ENGLISH,
    ):
        self._lexicon = lexicon or {}
        self._symbols = frozenset(symbols or ())
        self._language = language

    def phones(self, text: str) -> list[str]:
        """Return the phones of a text, with `sp` at the clause boundaries inside it.

        If the model knows punctuation, what it knows stands where it is written instead, and an
        utterance begins and ends with a silence if the model knows `sil`, as in ESPnet's recipe
        with MFA.

        Raises:
            RecipeError: the text is empty, or a character or word cannot be pronounced.
        """
        normalised = self._language.normalise(text)
        tokens = self._language.tokens(normalised)
        if self._language.connected:
            rows = self._language.connected(tokens)
        else:
            rows = [[PAUSE] if token == PAUSE else self._pronunciation(token) for token in tokens]
        if known := self._symbols & MARKS:
            rows = self._punctuated(tokens, rows, normalised, known)
        phones = [phone for row in rows for phone in row]
        if self._symbols and PAUSE not in self._symbols:
            phones = [phone for phone in phones if phone != PAUSE]
        return [self._known(phone) for phone in phones]

    def _punctuated(
        self, tokens: list[str], rows: list[list[str]], text: str, known: frozenset[str]
    ) -> list[list[str]]:
        """The phones of each word, with the known marks where the text has them."""
        words = [token for token in tokens if token != PAUSE]
        spoken = (row for token, row in zip(tokens, rows, strict=True) if token != PAUSE)
        marks = [[mark for mark in each if mark in known] for each in marks_around(words, text)]
        silence = [SILENCE] if SILENCE in self._symbols else []
        marks[0], marks[-1] = marks[0] or silence, marks[-1] or silence
        return [marks[0], *(row + pause for row, pause in zip(spoken, marks[1:], strict=True))]

    def _pronunciation(self, word: str) -> list[str]:
        return (self._lexicon.get(word) or self._language.pronunciations(word))[0]

    def _known(self, phone: str) -> str:
        """Return the phone, or the same vowel with the nearest stress that the model knows."""
        # Other languages have phones such as AH:, whose last character is no stress.
        nearest = {"0": "021", "1": "120", "2": "210"}.get(phone[-1])
        if not self._symbols or phone in self._symbols or phone[:-1] not in VOWELS or not nearest:
            return phone
        candidates = (phone[:-1] + stress for stress in (*nearest, ""))
        return next((c for c in candidates if c in self._symbols), phone)
