"""Russian: words to phonemes, and phonemes to the phones of connected speech.

Phones are those of the Festival voice msu_ru_nsh, after Kasatkin, "Phonetics of the modern Russian
language" (2003). A doubled vowel is stressed (`aa`), `ae` and `ay` are vowels reduced after a soft
and a hard consonant, `ur` is a reduced `u`, and a doubled consonant is soft (`tt`). Phonemes are
what they are before reduction and assimilation: `a e i o u y` without stress.
"""

import bisect
import os
import re
from collections.abc import Mapping, Sequence

from preprocessing.text.letter_to_sound import LetterToSound
from preprocessing.text.phones import PAUSE

ACUTE = "\N{COMBINING ACUTE ACCENT}"
"""Marks the stressed vowel, as dictionaries do: за́мок, замо́к."""
_STRESSED = {vowel: 2 * vowel for vowel in "aeiouy"}
_VOWELS = frozenset({*_STRESSED, *_STRESSED.values()})
_REDUCED = frozenset({"ae", "ay", "ur"})
_VOICED = dict(
    zip("b bb v vv zh z zz g gg d dd".split(), "p pp f ff sh s ss k kk t tt".split(), strict=True)
)
_VOICELESS = {voiceless: voiced for voiced, voiceless in _VOICED.items()}
_SONORANTS = frozenset("m mm n nn l ll r rr j".split())
_CAUSES_VOICING = frozenset(_VOICED) - {"v", "vv"}
_CAUSES_DEVOICING = frozenset({*_VOICELESS, "sch", "ch", "h", "hh"}) - {"f", "ff"}
_SOFT = frozenset("j ch sch pp bb tt dd kk gg ff vv ss zz hh mm nn ll rr".split())
_LETTER_VOWELS = "аеёиоуыэюя"
_PARTICLES = frozenset("то либо нибудь ка таки де с".split())
"""unstressed after a hyphen"""


def phonemes(word: str, rules: LetterToSound, stress: int = 0) -> list[str]:
    """Turn a word into phonemes by letter-to-sound rules.

    Args:
        word: in lower case; `ACUTE` may mark the stressed vowel.
        rules: those of the Festival voice, in which `+` before a vowel marks stress.
        stress: the number of the stressed vowel from 1; 0 leaves the word without stress.

    Raises:
        ValueError: the word has letters that are not Russian.
    """
    found = rules.phones(re.sub(f"(.){ACUTE}", r"+\1", word))
    places = [i for i, phone in enumerate(found) if phone in _VOWELS]
    if 0 < stress <= len(places) and not set(found).intersection(_STRESSED.values()):
        found[places[stress - 1]] = _STRESSED[found[places[stress - 1]]]
    return found


class Russian:
    """The phonology of Russian.

    Args:
        lexicon: the phonemes of words.
        rules: letter-to-sound rules for other words.
    """

    def __init__(self, lexicon: Mapping[str, list[list[str]]], rules: LetterToSound):
        self._lexicon, self._rules = lexicon, rules
        self._endings: dict[str, list[str]] = {}

    def guess(self, word: str) -> list[str]:
        """Turn a word that the lexicon lacks into phonemes.

        A word with hyphens or apostrophes is taken apart. Its stress, unless it is marked or the
        word has ё, is that of the lexicon's word with the longest common ending, counted from the
        end.

        Raises:
            ValueError: the word has letters that are not Russian.
        """
        found: list[str] = []
        for i, part in enumerate(re.split("[-']", word)):
            if i and part in _PARTICLES:
                found += phonemes(part, self._rules)
            elif part in self._lexicon:
                found += self._lexicon[part][0]
            else:
                found += phonemes(part, self._rules, self._likely_stress(part))
        return found

    def _likely_stress(self, word: str) -> int:
        vowels = sum(letter in _LETTER_VOWELS for letter in word)
        backwards = word[::-1]
        endings = self._backwards(word[-2:]) or self._backwards("")
        place = bisect.bisect(endings, backwards)
        best = (-1, False, vowels)
        for other in endings[max(0, place - 30) : place + 30]:
            spoken = [phone for phone in self._lexicon[other[::-1]][0] if phone in _VOWELS]
            stressed = [i for i, phone in enumerate(reversed(spoken)) if len(phone) == 2]
            if stressed and stressed[0] < vowels:
                common = len(os.path.commonprefix([other, backwards]))
                best = max(best, (common, len(spoken) == vowels, vowels - stressed[0]))
        return best[2]

    def _backwards(self, ending: str) -> list[str]:
        """The lexicon's words with an ending, written backwards and sorted."""
        if ending not in self._endings:
            words = (word[::-1] for word in self._lexicon if word.endswith(ending))
            self._endings[ending] = sorted(words)
        return self._endings[ending]

    @staticmethod
    def connected(words: Sequence[Sequence[str]]) -> list[list[str]]:
        """Reduce vowels and assimilate consonants in a text's words and pauses.

        Args:
            words: the phonemes of each word; `[PAUSE]` for a pause.

        Returns:
            The phones of the same words.
        """
        heard = [phone for word in words for phone in word]
        vowels = [i for i, phone in enumerate(heard) if phone in _VOWELS]
        stress_follows = {
            i: heard[after] not in _STRESSED for i, after in zip(vowels, vowels[1:], strict=False)
        }
        heard += [PAUSE, PAUSE]  # also stands before the first
        for i in vowels:
            follows = stress_follows.get(i, False)
            heard[i] = _reduced(heard[i], heard[i - 1], heard[i + 1], follows)
        found, i = [], 0
        for word in words:
            for last in [False] * (len(word) - 1) + [not _is_clitic(word)]:
                heard[i] = _assimilated(heard[i], heard[i + 1], heard[i + 2], last)
                i += 1
            found.append(heard[i - len(word) : i])
        return found


def _is_clitic(word: Sequence[str]) -> bool:
    """Tell whether a word leans on its neighbours, as prepositions do: it has no stress."""
    return not set(word).intersection(_STRESSED.values())


def _reduced(vowel: str, before: str, after: str, stress_follows: bool) -> str:
    """Reduce a vowel by its neighbours and by whether the next syllable is stressed."""
    if vowel not in _STRESSED:
        return "yy" if vowel == "ii" and before == "s" else vowel
    full = PAUSE in (before, after) or before == "j" or before in _VOWELS or before in _REDUCED
    if vowel in "ao" and (full or stress_follows):
        return "a"
    if vowel in "yiu" and (full or stress_follows) or vowel == "e" and full:
        return vowel
    if vowel == "u":
        return "ur"
    if vowel == "e" and stress_follows:
        return "i" if before in _SOFT else "y"
    return "ae" if before in _SOFT else "ay"


def _assimilated(phone: str, after: str, second: str, last: bool) -> str:
    """Voice or devoice a consonant as the next ones ask, or as the last one of a word."""
    if not last:
        if after in _CAUSES_DEVOICING:
            return _VOICED.get(phone, phone)
        return _VOICELESS.get(phone, phone) if after in _CAUSES_VOICING else phone
    if phone == "z" and after in _CAUSES_DEVOICING:
        return "s"
    if after in ("v", "vv"):
        if second in _CAUSES_VOICING:
            return _VOICELESS.get(phone, phone)
        after = second
    opens = after in _SONORANTS or after == PAUSE or after in _VOWELS or after in _REDUCED
    return _VOICED.get(phone, phone) if opens else phone
