"""From written to spoken English, by kinds of what users write."""

import subprocess
import sys

import pytest

from pipeline.errors import RecipeError
from preprocessing.text.abbreviations import sentences
from preprocessing.text.english import normalise, replacements, tokens
from preprocessing.text.grammars import verbalise
from preprocessing.text.pronouncer import Pronouncer


def words(text: str) -> str:
    """Return the words and pauses of a text, without the hyphens of numbers."""
    return " ".join(tokens(normalise(text))).replace("-", " ")


@pytest.mark.parametrize(
    "written, spoken",
    [
        ("the 6:45am bus, by 9:30 p.m.", "the six forty five A.M. bus sp by nine thirty P.M."),
        ("from 8am to 11 PM", "from eight A.M. to eleven P.M."),
        ("ran for 2:03:05", "ran for two hours three minutes and five seconds"),
        ("3/4 of it, 2 1/2 cups", "three quarters of it sp two and a half cups"),
        ("1½ miles", "one and a half miles"),
        ("on 2021-03-09", "on march ninth twenty twenty one"),
        ("Call 867-5309 now", "call eight six seven sp five three zero nine now"),
        (
            "pages 12-15, but 9 - 4 = 5",
            "pages twelve to fifteen sp but nine minus four equals five",
        ),
        ("70 km/h, 5 kg", "seventy kilometers per hour sp five kilograms"),
        ("30°C outside", "thirty degrees celsius outside"),
        (".75 of it costs ¥300", "point seven five of it costs three hundred yen"),
        ("25\u00a0000 and 25 000", "twenty five thousand and twenty five thousand"),
        ("12345 seats", "twelve thousand three hundred and forty five seats"),
        ("bullet C2766, room B200", "bullet c two seven six six sp room b two hundred"),
        ("bullet C2766. Post Office Box 2915", "bullet c two seven six six sp post office box two"),
        ("agent 0012", "agent zero zero one two"),
        ("see no. 8 and No. 9", "see number eight and number nine"),
        ("mail me@site.org", "mail me at site dot org"),
        ('"1984" is 5" long', "nineteen eighty four is five inches long"),
        ("in 340 B.C., from 4:00 am - 8:12 pm", "in three forty B.C. sp from four A.M. to eight"),
        (
            "the 111th, 12nd and 1,003rd",
            "the one hundred and eleventh sp twelve N.D. and one thousand and third",
        ),
        ("5 ft. 3 in. tall, 3 in 10", "five feet three inches tall sp three in ten"),
        ("50¢ or 1 ¢", "fifty cents or one cent"),
        ("on 2nd St., the second St. Mary", "on second street sp the second saint mary"),
        ("she is 5′10″ tall", "she is five feet ten inches tall"),
        ("Feb. 3 was cold", "february third was cold"),
        ("at 12 Mill St, Salem, OR 97301", "at twelve mill street sp salem sp oregon nine seven"),
    ],
)
def test_numbers_dates_times_and_measures(written, spoken):
    assert words(written).startswith(spoken)


@pytest.mark.parametrize(
    "written, spoken",
    [
        ("(2019-07-04)", "july fourth twenty nineteen"),
        (
            "from 2019-07-04 to 2020-01-31.",
            "from july fourth twenty nineteen to january thirty first",
        ),
        ("at 2019-07-04T14:30 it", "at july fourth twenty nineteen sp fourteen thirty it"),
        ("2019-07-04T14:30:00.5Z", "july fourth twenty nineteen sp fourteen hours thirty minutes"),
        (
            "in 1987-11 and 2001-02",
            "in november nineteen eighty seven and two thousand and one zero two",
        ),
        (
            "on May 4 to 7, 1963, May 4-7.",
            "on may fourth to seventh sp nineteen sixty three sp may",
        ),
    ],
)
def test_iso_dates_and_ranges_of_days(written, spoken):
    assert words(written).startswith(spoken)


@pytest.mark.parametrize(
    "written, spoken",
    [
        (
            "1.5-2.5 km, 5%-7%",
            "one point five to two point five kilometers sp five percent to seven",
        ),
        ("the 3rd-4th floor, a 3-rd one", "the third to fourth floor sp a third one"),
        (
            "2.5M views and 1.2bn more",
            "two point five million views and one point two billion more",
        ),
        ("9 ft 7 in, 3in, 6'1", "nine feet seven inches sp three inches sp six feet one"),
        ("4 sq. ft. or 2 cu in", "four square feet or two cubic inches"),
        ("8 m/s at 15° C", "eight meters per second at fifteen degrees celsius"),
        (
            "2^8, x^2, 3e-4",
            "two to the power of eight sp x squared sp three times ten to the power",
        ),
        ("~7, ±3 and ≈ 4", "about seven sp plus or minus three and is about four"),
        ("2.000.000 or 3'000", "two million or three thousand"),
        ("50/50, 24/7, 5:1", "fifty fifty sp twenty four seven sp five to one"),
        ("see p. 9, ch. 4, № 2", "see page nine sp chapter four sp number two"),
        ("(2)Then, 3!then", "two sp then sp three sp then"),
        ("30 € or $6-a-day", "thirty euros or six dollars a day"),
        ("100s, 1000s", "hundreds sp thousands"),
        ("+44 20 7946 0958", "plus four four sp two zero sp seven nine four six sp zero nine five"),
        ("6 x 4 = 24, 8/2=4", "six by four equals twenty four sp eight divided by two equals four"),
    ],
)
def test_everyday_figures(written, spoken):
    assert words(written).startswith(spoken)


def test_the_grammars_change_only_what_has_digits_or_symbols():
    """They would replace further words by a list of their own, and join initials."""
    text = "NASA's FBI file, e.g. Mr. Lee and the tv"
    assert normalise(f"{text} 5").startswith("NASA's FBI file, E.G. mister Lee and the tv")
    assert normalise("He said “stop” – twice – in 1963!") == (
        'He said "stop" - twice - in nineteen sixty-three!'
    )


def test_verbalised_parts_have_their_places_in_the_text():
    text = "Ünïted, the 3rd at 5:00pm"
    parts = [(text[each.start : each.end], each.spoken, each.kind) for each in verbalise(text)]
    assert parts == [("3rd", "third", "ordinal"), ("5:00pm", "five PM", "time")]


@pytest.mark.parametrize(
    "written, spoken",
    [
        ("Mrs Hill met Dr Lee", "missis hill met doctor lee"),
        ("Lives on Sunset Dr.", "lives on sunset drive"),
        ("St Paul left 12 Mill St. It rained.", "saint paul left twelve mill street sp it rained"),
        ("St. James St, near Mt. Blanc", "saint james street sp near mount blanc"),
        ("Sen. Ford, Rep. Ford, Gov. Reed", "senator ford sp representative ford sp governor reed"),
        ("see Fig. 7, Vol. 2", "see figure seven sp volume two"),
        ("Hill Bros. Inc.", "hill brothers incorporated"),
        ("three PhDs, Ph.D.s", "three P.H.D.'s sp P.H.D.'s"),
        ("Tues., Sat. and the sun. They sat.", "tuesday sp sat sp and the sun sp they sat"),
        ("Ft. Hood, ten ft. of it", "fort hood sp ten feet of it"),
    ],
)
def test_abbreviations_with_and_without_a_dot(written, spoken):
    assert words(written) == spoken


@pytest.mark.parametrize(
    "written, spoken",
    [
        ("World War I. The", "world war one sp the"),
        ("George III and James V", "george the third and james the fifth"),
        ("Elizabeth I, Louis XVI.", "elizabeth the first sp louis the sixteenth"),
        ("Part XII of Act II", "part twelve of act two"),
        ("the XVIIIth century, the IV dynasty", "the eighteenth century sp the fourth dynasty"),
        ("Anna and I, MIX", "anna and i sp mix"),
    ],
)
def test_roman_numerals(written, spoken):
    assert words(written) == spoken


@pytest.mark.parametrize(
    "text, phones",
    [
        ("B. F. Skinner", "B IY1 EH1 F S K IH1 N ER0"),
        ("by A. Miller", "B AY1 EY1 M IH1 L ER0"),
        ("a Ph.D. and", "AH0 P IY1 EY1 CH D IY1 AH0 N D"),
        ("an A in art", "AE1 N EY1 IH0 N AA1 R T"),
        ("DVR's", "D IY1 V IY1 AA1 R Z"),
        ("the RFPs", "DH AH0 AA1 R EH1 F P IY1 Z"),
        ("the U.N.'s", "DH AH0 Y UW2 EH1 N Z"),
        ("R&D, AT&amp;T", "AA1 R AH0 N D D IY1 sp EY1 T IY1 AH0 N D T IY1"),
        ("US law", "Y UW2 EH1 S L AO1"),
        ("an ID for us", "AE1 N AY1 D IY1 F AO1 R AH1 S"),
        ("TELL US WHO LEFT", "T EH1 L AH1 S HH UW1 L EH1 F T"),
        ("call the XQZ", "K AO1 L DH AH0 EH1 K S K Y UW1 Z IY1"),
    ],
)
def test_letters_and_acronyms(text, phones):
    assert Pronouncer().phones(text) == phones.split()


def test_capitals_are_words_where_all_letters_are_capitals():
    text = "THE WARDSMAN OF ROEHAMPTON LEFT THE BBC"
    assert Pronouncer().phones(text) == Pronouncer().phones(text.lower())
    assert tokens("the BLARG left") == ["the", "BLARG", "left"]


@pytest.mark.parametrize(
    "written, spoken",
    [
        (
            "One -- or two - or three—or “four” – five",
            "one sp or two sp or three sp or four sp five",
        ),
        ("re-enter -- now", "re enter sp now"),
    ],
)
def test_dashes_are_pauses(written, spoken):
    assert words(written) == spoken


@pytest.mark.parametrize(
    "written, spoken",
    [
        ("don´t, can`t, won’t", "don't sp can't sp won't"),
        ("*Very* **good** _indeed_", "very good indeed"),
        ("press 2 * now or *", "press two star now or star"),
        ("[the page](https://a.org/b) &quot;here&quot;", "the page here"),
        ("x ≠ y", "x is not equal to y"),
        ("co\u00adoperate, \ufeffnow\u200b", "cooperate sp now"),
    ],
)
def test_characters_entities_and_markup(written, spoken):
    assert words(written) == spoken


@pytest.mark.parametrize(
    "text, parts",
    [
        ("Öl ist da. Äpfel auch.", 2),
        ("Где он? Там.", 2),
        ("¿Qué? ¡Nada!", 2),
        ("यह है। वह भी।", 2),
        ("Mt. Hood and Gov. Reed etc. and so on", 1),
        ("See ch. 3 and p. 5 on Tues. 8 May", 1),
        ("They sat. The sun. It rose.", 3),
    ],
)
def test_sentences_of_other_scripts(text, parts):
    assert len(sentences(text)) == parts


def test_replacements_are_listed_with_their_rule():
    assert replacements("Dr. Lee paid $5 at AT&T {HH AY1} – now") == [
        ("$5", "five dollars", "numbers", ""),
        ("AT&T", "A.T. and T", "acronyms", ""),
        ("Dr.", "doctor", "abbreviations", "saint or street, doctor or drive"),
    ]
    assert replacements("It is *so* big") == [("*so*", "so", "characters", "")]
    assert replacements("Nothing, to “change”.") == []


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("on 5/6/2020 we met", "month or day first"),
        ("on 5/16/2020 we met", ""),
        ("in 1868 he left", "year or number"),
        ("it costs $1868 now", ""),
        ("won by 5-4 there", "range, score, difference or number with hyphens"),
        ("at 3:16 then", "time, ratio or verse"),
        ("see Part I of it", "Roman numeral or letters"),
        ("take 5 of them", ""),
    ],
)
def test_ambiguous_words_are_marked(text, doubt):
    assert [row[3] for row in replacements(text)] == [doubt]


def test_a_plain_text_loads_no_grammar():
    code = (
        "import sys; from preprocessing.text.pronouncer import Pronouncer;"
        "Pronouncer().phones('Dr. Lee came -- and left!'); print('pynini' in sys.modules);"
        "Pronouncer().phones('at 5'); print('pynini' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_an_unknown_character_is_still_refused():
    with pytest.raises(RecipeError, match="cannot be pronounced"):
        words("5 日")
