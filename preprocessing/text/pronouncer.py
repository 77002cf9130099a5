"""From text to phones, for synthesis."""

from collections.abc import Iterable, Mapping

from preprocessing.text.language import ENGLISH, Language
from preprocessing.text.phones import PAUSE, VOWELS


class Pronouncer:
    """Text to phones for synthesis.

    Args:
        lexicon: pronunciations that go before the dictionary's, such as those that the aligner
            heard the corpus's speaker use (`read_lexicon` of stage 2's `lexicon.txt`).
        symbols: the phones that a model knows. An ARPAbet vowel whose stress it never met takes the
            nearest stress it did, or none if the model was trained on phones without.
        language: of the texts.
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
        """Phones of a text, with `sp` at the clause boundaries inside it.

        Raises:
            RecipeError: the text is empty, or a character or word cannot be pronounced.
        """
        phones: list[str] = []
        for token in self._language.tokens(self._language.normalise(text)):
            if token == PAUSE:
                phones.append(PAUSE)
            else:
                phones += (self._lexicon.get(token) or self._language.pronunciations(token))[0]
        if self._symbols and PAUSE not in self._symbols:
            phones = [phone for phone in phones if phone != PAUSE]
        return [self._known(phone) for phone in phones]

    def _known(self, phone: str) -> str:
        # Another language may have a phone AH: beside.
        nearest = {"0": "021", "1": "120", "2": "210"}.get(phone[-1])
        if not self._symbols or phone in self._symbols or phone[:-1] not in VOWELS or not nearest:
            return phone
        candidates = (phone[:-1] + stress for stress in (*nearest, ""))
        return next((c for c in candidates if c in self._symbols), phone)
