"""The corpus festvox_ru: its package, and Russian texts as phones."""

import hashlib
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from conftest import composed, run_script

from pipeline.errors import RecipeError
from pipeline.settings import checked
from pipeline.stages import ALIGNMENTS
from preprocessing.alignment import read_textgrid
from preprocessing.settings import LanguageSettings
from preprocessing.text.language import corpus_language
from preprocessing.text.letter_to_sound import LetterToSound
from preprocessing.text.pronouncer import Pronouncer
from preprocessing.text.russian import Russian, phonemes
from preprocessing.text.russian_numbers import normalise

VOICE = "usr/share/festival/voices/russian/small"
RULES = """(lts.ruleset msu_ru ((SOFT я ё ю и ь е) (START # ъ ь а о у)) (
  ( [ "+" а ] = aa ) ( [ "+" о ] = oo )  ;; stress
  ( [ т с ] я = c )
  ( START [ я ] = j a ) ( [ я ] = a ) ( [ ё ] = oo ) ( [ а ] = a ) ( [ о ] = o ) ( [ у ] = u )
  ( [ ы ] = y ) ( [ и ] = i ) ( [ е ] = e )
  ( [ д ] SOFT = dd ) ( [ т ] SOFT = tt ) ( [ в ] SOFT = vv ) ( [ р ] SOFT = rr )
  ( [ б ] = b ) ( [ в ] = v ) ( [ д ] = d ) ( [ л ] = l ) ( [ м ] = m ) ( [ р ] = r ) ( [ с ] = s )
  ( [ т ] = t ) ( [ з ] = z ) ( [ к ] = k ) ( [ ь ] = ) ))
(lex.create "msu_ru")
"""
LEXICON = {"сад": 1, "вода": 2, "в": 0, "был": 1, "дом": 1, "замок": 1, "трава": 2, "стол": 1}


@pytest.fixture
def russian() -> Russian:
    rules = LetterToSound(RULES)
    return Russian({word: [phonemes(word, rules, n)] for word, n in LEXICON.items()}, rules)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("яд", "j a d"),
        ("дядя", "dd a dd a"),
        ("борется", "b o rr e c a"),
        ("объём", None),
        ("ст", "s t"),
    ],
)
def test_the_first_rule_that_fits_is_taken(word, expected):
    rules = LetterToSound(RULES)
    if expected is None:
        with pytest.raises(ValueError, match="no rule fits the letter 'ъ'"):
            rules.phones(word)
    else:
        assert " ".join(rules.phones(word)) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("вода", "v a d aa"),  # the vowel before the stress
        ("трава вода", "t r a v aa v a d aa"),
        ("сад", "s aa t"),  # no voiced consonant ends a word,
        ("сад был", "s aa d b yy l"),  # but before another one,
        ("в сад", "f s aa t"),  # and a preposition takes on the next sound
        ("в дом", "v d oo m"),
        ("сад sp дом", "s aa t sp d oo m"),
    ],
)
def test_phones_depend_on_the_neighbours(russian, words, expected):
    found = russian.connected(
        [["sp"] if word == "sp" else russian.guess(word) for word in words.split()]
    )
    assert " ".join(" ".join(word) for word in found) == expected
    assert len(found) == len(words.split())


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("замо\u0301к", "z a m oo k"),  # marked, against the lexicon
        ("борода", "b o r o d aa"),  # as in вода
        ("сёла", "s oo l a"),
        ("замок-то", "z aa m o k t o"),  # an unstressed particle
    ],
)
def test_the_stress_of_unknown_words(russian, word, expected):
    assert " ".join(russian.guess(word)) == expected


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("в 1999 году", "в тысяча девятьсот девяносто девятом году"),
        ("в 1812 г. он", "в тысяча восемьсот двенадцатом году он"),
        ("5 мая 1945 года", "пятого мая тысяча девятьсот сорок пятого года"),
        ("1900-е годы", "тысяча девятисотые годы"),
        ("21 руб. 2 коп.", "двадцать один рубль две копейки"),
        ("11 % и 3,5 км", "одиннадцать процентов и три целых пять десятых километра"),
        ("12:05", "двенадцать ноль пять"),
        ("−5 и 1 000 000", "минус пять и один миллион"),
        ("3-я и 21-го", "третья и двадцать первого"),
        ("т. е. №5 и т. д.", "то есть номер пять и так далее"),
        ("Без чисел - как есть.", "Без чисел - как есть."),
    ],
)
def test_numbers_and_abbreviations(written, spoken):
    assert normalise(written) == spoken


def make_package(folder) -> list[str]:
    """Build a Debian package of two sentences; return the settings with its digests."""
    root = folder / "package"
    for name in ("etc", "wav", "lab", "dict", "festvox", "../../../../../../DEBIAN"):
        (root / VOICE / name).mkdir(parents=True, exist_ok=True)
    control = "Package: small\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.cd>\n"
    control += "Description: two sentences\n"
    (root / "DEBIAN" / "control").write_text(control)
    contents = {
        "etc/txt.done.data": '( ru_1 "В сад, вод+а!" )\n( ru_2 "Стол был дом." )\n',
        "lab/ru_1.lab": "#\n0.2 125 pau\n0.3 125 f\n0.4 125 s\n0.5 125 aa\n0.6 125 t\n0.8 125 pau\n"
        "0.9 125 v\n1.0 125 a\n1.1 125 d\n1.2 125 aa\n1.5 125 pau\n",
        "lab/ru_2.lab": "#\n0.1 125 pau\n0.2 125 s\n0.3 125 t\n0.4 125 oo\n0.5 125 l\n0.6 125 b\n"
        "0.7 125 yy\n0.8 125 l\n0.9 125 d\n1.0 125 oo\n1.1 125 m\n1.5 125 pau\n",
        "dict/small_dict.scm": "MNCL\n"
        + "".join(f'("{word}" n ({stress}))\n' for word, stress in LEXICON.items()),
        "festvox/small_lexicon.scm": f"(lts.ruleset\n down ( [ А ] = а ))\n{RULES}",
    }
    for name, text in contents.items():
        (root / VOICE / name).write_text(text, "utf-8")
    noise = np.random.default_rng(0).normal(0, 0.1, 24_000)
    for id in ("ru_1", "ru_2"):
        soundfile.write(root / VOICE / "wav" / f"{id}.wav", noise, 16_000)
    digest = hashlib.sha256()
    for pattern in ("etc/txt.done.data", "wav/*", "lab/*", "dict/*.scm", "festvox/*_lexicon.scm"):
        for path in sorted((root / VOICE).glob(pattern)):
            digest.update(path.name.encode() + path.read_bytes())
    deb = folder / "downloads" / "small_1_all.deb"
    deb.parent.mkdir()
    subprocess.run(["dpkg-deb", "--build", root, deb], check=True, capture_output=True)
    package = f"{{name:small,version:'1',sha256:{hashlib.sha256(deb.read_bytes()).hexdigest()}}}"
    return [
        "recipe=festvox_ru",
        f"paths.data={folder}",
        f"corpus.source.packages=[{package}]",
        f"corpus.source.contents_sha256={digest.hexdigest()}",
        "corpus.screening.sound_outside=9",
        "corpus.screening.characters_per_second=[0.1,90]",
        "corpus.screening.phone_seconds=[0.01,3]",
    ]


def test_a_package_becomes_a_corpus_with_alignments(tmp_path):
    overrides = make_package(tmp_path)
    before = ALIGNMENTS.fingerprint(composed(*overrides))
    for script in ("stage1_download", "stage2_align"):
        done = run_script(script, *overrides)
        assert done.returncode == 0, done.stderr
    grid = tmp_path / "alignments" / "textgrid" / "TextGrid" / "ru_1.TextGrid"
    config = composed(*overrides)
    assert ALIGNMENTS.fingerprint(config) == before, "records are current where there is no data"
    language = corpus_language(config.corpus.language)
    alignment = read_textgrid(grid, language.phones)
    assert " ".join(phone.label for phone in alignment.phones) == "f s aa t sp v a d aa"
    assert [(w.start, w.end, w.label) for w in alignment.words] == [
        (0.2, 0.3, "в"),
        (0.3, 0.6, "сад"),
        (0.8, 1.2, "вода\u0301"),
    ]
    pronouncer = Pronouncer(None, None, language)
    assert " ".join(pronouncer.phones("В сад, вода!")) == "f s aa t sp v a d aa"
    with pytest.raises(RecipeError, match="'hello' cannot be pronounced: no rule fits"):
        pronouncer.phones("сад hello")
    # A second run has nothing to do, and a damaged file is fetched again from the package.
    done = run_script("stage1_download", *overrides)
    assert "is up to date" in done.stdout
    damaged = next((tmp_path / "downloads" / "unpacked").rglob("ru_2.lab"))
    damaged.write_text("#\n")
    shutil.rmtree(tmp_path / "corpus")
    assert run_script("stage1_download", *overrides).returncode == 0
    assert damaged.read_text() != "#\n"


def test_a_language_without_its_rules_is_reported(tmp_path):
    (tmp_path / "lexicon.txt").write_text("сад s aa d\n", "utf-8")
    language = {
        "normaliser": None,
        "lexicon": str(tmp_path / "lexicon.txt"),
        "phones": None,
        "phonology": "preprocessing.text.russian.Russian",
        "rules": str(tmp_path / "rules.txt"),
    }
    language = checked(LanguageSettings, language)
    with pytest.raises(RecipeError, match=r"rules.txt cannot be read"):
        corpus_language(language)
