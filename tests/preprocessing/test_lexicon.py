"""Pronunciation dictionaries as they are published, and languages made of them."""

import itertools
import os

import pytest

from pipeline.errors import FaultsError, RecipeError
from preprocessing.settings import LanguageSettings
from preprocessing.text.language import corpus_language
from preprocessing.text.lexicon import read_lexicon
from preprocessing.text.pronouncer import Pronouncer


@pytest.fixture
def lexicon(tmp_path):
    """A function that returns the language whose lexicon has a given text."""
    times = itertools.count(10**18, 10**9)

    def language(contents: str):
        path = tmp_path / "lexicon.txt"
        path.write_text(contents, "utf-8")
        time = next(times)  # Older kernels give files written in quick succession the same time.
        os.utime(path, ns=(time, time))
        settings = {"normaliser": None, "lexicon": str(path), "phones": None}
        return corpus_language(LanguageSettings(**settings))

    return language


def test_upper_and_lower_case_share_their_pronunciations(lexicon):
    language = lexicon("Weg v eː k\nweg v ɛ k\n\nWEG v eː k\n")
    assert language.pronunciations("weg") == [["v", "eː", "k"], ["v", "ɛ", "k"]]


def test_probabilities_in_mfas_dictionaries_are_skipped(lexicon):
    language = lexicon("weg\t0.99\t0.2\t1.0\t1.0\tv ɛ k\nweg 0.01 v eː k\nœuf 9 f\n")
    assert language.pronunciations("weg") == [["v", "ɛ", "k"], ["v", "eː", "k"]]
    assert language.pronunciations("œuf") == [["9", "f"]], "X-SAMPA"
    assert language.phones == {"v", "ɛ", "eː", "k", "9", "f"}
    with pytest.raises(FaultsError, match="lexicon.txt: 1 fault\n  line 2, no: has no phone"):
        lexicon("weg v ɛ k\nno 0.99\n")


def test_words_of_other_scripts_stay_whole(lexicon):
    language = lexicon("one w ʌ n\n")
    assert language.tokens("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert language.tokens("தமிழ்; ที่นี่") == ["தமிழ்", "sp", "ที่นี่"]
    joined = "می\N{ZERO WIDTH NON-JOINER}خواهم"
    assert language.tokens(f"{joined} – it's ❤\N{VARIATION SELECTOR-16} a-b") == (
        [joined, "sp", "it's", "sp", "a-b"]
    )


def test_a_phone_that_resembles_arpabet_is_not_changed(lexicon):
    language = lexicon("a AH:\n")
    assert Pronouncer(symbols={"AH:"}, language=language).phones("a") == ["AH:"]
    # The model will report that it does not know this phone.
    assert Pronouncer(symbols={"AH"}, language=language).phones("a") == ["AH:"]


def test_an_edited_lexicon_of_stage_2(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("the DH AH0\n\nthe DH IY0\n")
    assert read_lexicon(path) == {"the": [["DH", "AH0"], ["DH", "IY0"]]}
    path.write_text("the DH AH0\n\nworld\n")
    with pytest.raises(RecipeError, match="line 3 of .*lexicon.txt has no phone for 'world'"):
        read_lexicon(path)


@pytest.mark.parametrize(
    "line, word, phones",
    [
        ("cat\t1\t0.0\t0.0\t0.0\tK AE T", "cat", "K AE T"),
        ("cat 1 0.0 0.0 0.0 K AE T", "cat", "K AE T"),
        ("cat 1e-05 K AE T", "cat", "K AE T"),
        ("cat\t.5\tK\tAE\tT", "cat", "K AE T"),
        ("vijf 0.9 v 9 f", "vijf", "v 9 f"),
        ("byt 1 t", "byt", "1 t"),
        ("THE(2)  DH IY", "the", "DH IY"),
        ("gdp G IY # an abbreviation", "gdp", "G IY"),
        ("de la\td ə l a", "de la", "d ə l a"),
        ("l’ami l a m i", "l'ami", "l a m i"),
        ("<unk>\tspn\ncat K AE T", "cat", "K AE T"),
        ("[laughter] spn\r\ncat K AE T\r", "cat", "K AE T"),
        ("!SIL SIL\n{SL} sil\n(laugh)\tspn\n{lg}\tspn\ncat K AE T", "cat", "K AE T"),
        ("cat K AE T\n # more\n", "cat", "K AE T"),
        ("\ufeffco\u00adop K OW AA P", "coop", "K OW AA P"),
        (";;; CMUdict 0.7\n# more\ncat K AE T", "cat", "K AE T"),
    ],
)
def test_dictionaries_as_they_are_published(lexicon, line, word, phones):
    # The first line has no probability, so a lone 1 or 0 on a later line may be a phone.
    language = lexicon(f"a EY\n{line}\n")
    assert language.pronunciations(word) == [phones.split()]


def test_whole_probabilities_before_every_pronunciation(lexicon):
    language = lexicon("cat 1 K AE T\nthe 1 DH AH\nthe 0 DH IY\n")
    assert language.pronunciations("the") == [["DH", "AH"], ["DH", "IY"]]


def test_every_apostrophe_is_the_same_letter(lexicon):
    language = lexicon("l'ami l a m i\nd’or d ɔ ʁ\n")
    assert language.tokens("L’ami d'or") == ["l'ami", "d'or"]
    assert [language.pronunciations(word)[0][0] for word in ("l'ami", "d'or")] == ["l", "d"]


@pytest.mark.parametrize(
    "line, message",
    [
        ("cat\t('K', 'AE1', 'T')", r"has \('K',, part of a Python tuple"),
        ("cat [CAT] k ae t", r"has \[CAT\], HTK's output symbol"),
        ("cat\t/kæt/", "has /kæt/, a whole pronunciation in slashes"),
        ("cat\t/kæt/, /kat/", "has /kæt/,, part of"),
        ("cat k spn", "has spn, meaning silence or an unknown word"),
        ("cat\t", "has no phone"),
    ],
)
def test_what_is_no_phone_is_reported_by_its_line(lexicon, line, message):
    with pytest.raises(FaultsError, match=f"line 3, cat: {message}"):
        lexicon(f";;; comment\nthe DH AH\n{line}\n")


def test_invisible_characters_do_not_split_words(lexicon):
    language = lexicon("a EY\n")
    assert language.tokens("\ufeffDonau\u00addampf\u200bschiff, \u200fא\u200e") == (
        ["donaudampfschiff", "sp", "א"]
    )


def test_unknown_words_do_not_enter_the_speakers_lexicon(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("password spn\nthe DH AH0\n")
    assert read_lexicon(path) == {"the": [["DH", "AH0"]]}
