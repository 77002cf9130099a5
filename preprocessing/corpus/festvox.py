"""The recordings behind a Festival voice, with phone labels, its dictionary and its rules.

Debian's `festvox-ru` is such a package: 620 sentences by one speaker. Files keep Festival's names:
`etc/txt.done.data` (texts), `wav/`, `lab/` (phones), `dict/*_dict.scm` (words with the number of
their stressed vowel) and `festvox/*_lexicon.scm` (letter-to-sound rules).
"""

import hashlib
import re
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path

from pipeline.errors import RecipeError
from pipeline.files import atomic_path, read_utf8
from preprocessing.corpus import packages
from preprocessing.corpus.recordings import Recording
from preprocessing.settings import FestvoxSource
from preprocessing.text.language import Language
from preprocessing.text.letter_to_sound import LetterToSound
from preprocessing.text.phones import PAUSE
from preprocessing.text.russian import ACUTE, phonemes

_TEXT = re.compile(r'^\( (\S+) "(.*)" \)$', re.MULTILINE)
_ENTRY = re.compile(r'^\("([^"]+)" \S+ \((\d+)\)( fix_yo)?\)$', re.MULTILINE)
_SILENCE = "pau"
_VOWEL = re.compile("[аеёиоуыэюя]")


def obtain(source: FestvoxSource, downloads: Path) -> Path:
    """Fetch the package; write the language's `lexicon.txt` and `rules.txt` into `downloads`.

    Returns:
        The voice's folder.

    Raises:
        RecipeError: see `packages.obtain`.
    """
    voice = packages.obtain(source, downloads, lambda it: _verified(it, source.contents_sha256))
    _write_lexicon(voice, downloads)
    return voice


def read_voice(voice: Path) -> list[Recording]:
    """Return a voice's recordings; an acute accent marks the vowels that its texts mark."""
    texts = read_utf8(voice / "etc" / "txt.done.data")
    return [
        Recording(id, voice / "wav" / f"{id}.wav", re.sub(r"\+(\w)", rf"\1{ACUTE}", text))
        for id, text in _TEXT.findall(texts)
    ]


def _verified(unpacked: Path, expected_sha256: str) -> Path:
    """Return the voice's folder, if one digest over all files that we read is right."""
    if not (texts := list(unpacked.rglob("txt.done.data"))):
        raise RecipeError(f"{unpacked} lacks the texts txt.done.data: delete it and run again")
    folder = texts[0].parents[1]
    digest = hashlib.sha256()
    for pattern in ("etc/txt.done.data", "wav/*", "lab/*", "dict/*.scm", "festvox/*_lexicon.scm"):
        for path in sorted(folder.glob(pattern)):
            digest.update(path.name.encode() + path.read_bytes())
    if digest.hexdigest() != expected_sha256:
        raise RecipeError(
            f"the files in {unpacked} are not the expected ones (SHA-256 {digest.hexdigest()} "
            f"instead of {expected_sha256}): delete {unpacked.parent} and run again"
        )
    return folder


def _write_lexicon(voice: Path, downloads: Path) -> None:
    """Write the voice's rules, and the phonemes of its dictionary's words by these rules."""
    source = read_utf8(next(voice.glob("festvox/*_lexicon.scm")))
    # The file has two sets of rules; the first only turns capitals into small letters.
    rules = source[source.rindex("(lts.ruleset") : source.index("(lex.create")]
    letter_to_sound, lines = LetterToSound(rules), []
    for word, stress, has_yo in _ENTRY.findall(read_utf8(next(voice.glob("dict/*_dict.scm")))):
        spelling = word
        if has_yo:  # The dictionary writes е where ё is meant.
            place = [match.start() for match in _VOWEL.finditer(word)][int(stress) - 1]
            spelling = f"{word[:place]}ё{word[place + 1 :]}"
        lines.append(f"{word}\t{' '.join(phonemes(spelling, letter_to_sound, int(stress)))}\n")
    for name, contents in (("lexicon.txt", "".join(lines)), ("rules.txt", rules)):
        with atomic_path(downloads / name) as temporary:
            temporary.write_text(contents, "utf-8")


def write_textgrids(recordings: list[Recording], folder: Path, language: Language) -> None:
    """Write the phone labels as TextGrids, with the words that the language's phones suggest."""
    folder.mkdir(parents=True, exist_ok=True)
    for recording in recordings:
        labels = recording.path.parents[1] / "lab" / f"{recording.id}.lab"
        rows = [line.split() for line in read_utf8(labels).splitlines()[1:]]
        bounds = [0.0, *(float(row[0]) for row in rows)]
        names = [PAUSE if row[2] == _SILENCE else row[2] for row in rows]
        phones = [(*times, name) for times, name in zip(pairwise(bounds), names, strict=True)]
        tokens = language.tokens(language.normalise(recording.text))
        words = _words(tokens, language.connected(tokens), names, bounds)
        with atomic_path(folder / f"{recording.id}.TextGrid") as temporary:
            temporary.write_text(_textgrid({"words": words, "phones": phones}), "utf-8")


def _words(
    tokens: list[str], spoken: list[list[str]], names: list[str], bounds: list[float]
) -> list[tuple[float, float, str]]:
    """Give each word the labels that match its phones; the words' ends follow from the match."""
    wanted = [phone for phones in spoken for phone in phones]
    places = []  # of each wanted phone among the labels
    matcher = SequenceMatcher(None, wanted, names, autojunk=False)
    for _, i, j, k, m in matcher.get_opcodes():
        places += [min(k + n, m) for n in range(j - i)]
    places.append(len(names))
    rows, i = [], 0
    for token, phones in zip(tokens, spoken, strict=True):
        start, end = places[i], places[i + len(phones)]
        while end > start and names[end - 1] == PAUSE:
            end -= 1
        while start < end and names[start] == PAUSE:
            start += 1
        if token != PAUSE and end > start:
            rows.append((bounds[start], bounds[end], token))
        i += len(phones)
    return rows


def _textgrid(tiers: dict[str, list[tuple[float, float, str]]]) -> str:
    end = max(row[1] for rows in tiers.values() for row in rows)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", f"0 {end:.5f} <exists>"]
    lines.append(str(len(tiers)))
    for name, rows in tiers.items():
        lines += ['"IntervalTier"', f'"{name}"', f"0 {end:.5f}", str(len(rows))]
        lines += [f'{start:.5f} {stop:.5f} "{label}"' for start, stop, label in rows]
    return "\n".join(lines) + "\n"
