"""From text to phones, for synthesis."""

from collections.abc import Iterable, Mapping

from preprocessing.text.language import ENGLISH, Language
from preprocessing.text.phones import PAUSE, VOWELS


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

        Raises:
            RecipeError: the text is empty, or a character or word cannot be pronounced.
        """
        tokens = self._language.tokens(self._language.normalise(text))
        if self._language.connected:
            words = self._language.connected(tokens)
        else:
            words = [[PAUSE] if token == PAUSE else self._pronunciation(token) for token in tokens]
        phones = [phone for word in words for phone in word]
        if self._symbols and PAUSE not in self._symbols:
            phones = [phone for phone in phones if phone != PAUSE]
        return [self._known(phone) for phone in phones]

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
