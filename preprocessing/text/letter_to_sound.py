"""Letter-to-sound rules as Festival writes them: `( LEFT [ LETTERS ] RIGHT = PHONES )`.

https://www.cstr.ed.ac.uk/projects/festival/manual/festival_13.html#SEC43
"""

import re
from collections import defaultdict
from functools import cache
from pathlib import Path

from pipeline.errors import RecipeError
from pipeline.files import read_utf8

_RULE = re.compile(r"\(\s*([^][()]*?)\s*\[\s*(.*?)\s*\]\s*(.*?)\s*=\s*(.*?)\s*\)")
_SET = re.compile(r"\(\s*([A-Z]{2,})\s+([^()=]*?)\s*\)")
_COMMENT = re.compile(r";.*")
EDGE = "#"
"""stands before the first letter of a word and after the last"""


class LetterToSound:
    """Rules that turn letters into phones: at each place, the first rule that fits is taken.

    Args:
        rules: their text. In it `( NAME A B ... )` names a set of letters.

    Raises:
        ValueError: there is no rule.
    """

    def __init__(self, rules: str):
        rules = _COMMENT.sub("", rules).replace('"', "")
        sets = {name: letters.split() for name, letters in _SET.findall(rules)}

        def pattern(part: str) -> str:
            each = (sets.get(letter, [letter]) for letter in part.split())
            return "".join(f"[{''.join(map(re.escape, letters))}]" for letters in each)

        self._rules = defaultdict(list)
        """by the first letter that they turn into phones"""
        for left, letters, right, phones in _RULE.findall(rules):
            fits = re.compile(f"(?<={pattern(left)}){pattern(letters)}(?={pattern(right)})")
            self._rules[letters[0]].append((fits, phones.split()))
        if not self._rules:
            raise ValueError("there is no rule ( LEFT [ LETTERS ] RIGHT = PHONES )")

    def phones(self, word: str) -> list[str]:
        """Return the phones of a word.

        Raises:
            ValueError: no rule fits one of its letters.
        """
        word, place, phones = f"{EDGE}{word}{EDGE}", 1, []
        while place < len(word) - 1:
            for fits, result in self._rules.get(word[place], ()):
                if match := fits.match(word, place):
                    phones += result
                    place = match.end()
                    break
            else:
                raise ValueError(f"no rule fits the letter '{word[place]}'")
        return phones


@cache
def read_rules(path: Path) -> LetterToSound:
    """Read a file of rules.

    Raises:
        RecipeError: the file does not exist, is not UTF-8, or has no rule.
    """
    try:
        return LetterToSound(read_utf8(path))
    except (FileNotFoundError, ValueError) as error:
        raise RecipeError(f"the letter-to-sound rules {path} cannot be read: {error}") from error
