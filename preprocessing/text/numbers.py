"""English numbers and whatever else is written with digits and symbols, as words.

NeMo's grammars do most of the work. A few rules go before them, for what they misread, and their
results are put into this project's style.
"""

import re

from preprocessing.text.abbreviations import REFERENCES
from preprocessing.text.grammars import verbalise

_CURRENCIES = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
_COUNTRIES = {"US": "U.S. ", "A": "Australian ", "C": "Canadian ", "HK": "Hong Kong ",
              "NZ": "New Zealand "}  # fmt: skip
_SCALES = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion",
           "tn": "trillion"}  # fmt: skip
_SINGULAR_UNITS = {"ft": "foot", "in": "inch", "yd": "yard", "mi": "mile", "lb": "pound",
                   "oz": "ounce", "hr": "hour", "min": "minute", "sec": "second"}  # fmt: skip
_LENGTHS = {"ft": "feet", "in": "inches", "yd": "yards", "mi": "miles"}
_MONTHS = ("January February March April May June July August September October November "
           "December").split()  # fmt: skip
_UNITS = "ft|in|yd|mi|lbs?|oz|hrs?|mins?|secs?|sq|cm|mm|km|kg"

# Possessive quantifiers keep a rule from matching part of a number.
_AMOUNT = r"(?:[1-9]\d{0,2}(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?+"
# A single letter is a scale only if it follows the digits directly, unlike in "a $20 B-side".
_SCALE = r"(?:thousand|million|billion|trillion|[mbt]n|(?<=\d)[kmb])(?!\w)"

_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_ONES = "one|two|three|four|five|six|seven|eight|nine"
_ORDINALS = r"first|second|third|fourth|fifth|sixth|seventh|eighth|ninth"
_TEENS = r"ten|eleven|twelve|\w+teen|tenth|eleventh|twelfth|\w+teenth|\w+tieth"
_BELOW_HUNDRED = rf"(?:{_TENS}|{_ONES}|{_ORDINALS}|{_TEENS})\b"

_WRITTEN = re.compile(
    r"[\d$£€¥₩¢°½¼¾⅓⅔]|\w@\w|\w://|\bwww\.|\w\.(?:com|org|net|edu|gov|info|io)\b", re.IGNORECASE
)
"""What the grammars may change. All else stays as it is written."""


def _cardinal(number: str) -> str:
    from num2words import num2words

    whole, point, decimals = number.replace(",", "").partition(".")
    spoken = num2words(int(whole)).replace(",", "")
    # Decimals are read digit by digit, because the last zero of 1.10 is spoken.
    digits = " ".join(num2words(int(digit)) for digit in decimals)
    return f"{spoken} point {digits}" if point else spoken


def _spoken_currency(match: re.Match) -> str:
    minus, country, symbol, low, again, high, scale = match.groups()
    if not (minus or country or high or scale and (scale != scale.lower() or len(scale) < 3)):
        return match[0]
    scale = (scale or "").lower()
    unit, subunit = _CURRENCIES[symbol]
    unit, scale = _COUNTRIES.get(country, "") + unit, _SCALES.get(scale, scale)
    spoken = _money(high or low, scale, unit, subunit)
    if high:
        # $5-10 is "five to ten dollars", but $1.50-2 "one dollar and fifty cents to two dollars".
        in_full = not scale and (again or "." in low + high)
        spoken = f"{_money(low, scale, unit, subunit) if in_full else _cardinal(low)} to {spoken}"
    return f"minus {spoken}" if minus else spoken


def _money(amount: str, scale: str, unit: str, subunit: str) -> str:
    whole, _, part = amount.partition(".")
    if scale:
        return f"{_cardinal(amount)} {scale} {unit}s"
    if len(part) > 2:
        return f"{_cardinal(amount)} {unit}s"
    spoken = f"{_cardinal(whole)} {unit}{'' if whole == '1' else 's'}"
    if int(part or 0):
        subunits = "pence" if subunit == "penny" else f"{subunit}s"
        part = int(part.ljust(2, "0"))
        spoken += f" and {_cardinal(str(part))} {subunit if part == 1 else subunits}"
    return spoken


def _with_commas(match: re.Match) -> str:
    return format(int(re.sub(r"\D", "", match[0])), ",")


def _clock(match: re.Match) -> str:
    """Separate the time of an ISO date, `2021-03-09T10:00Z`, from its day."""
    return f"{match[1]}, {match[2]}" + (" UTC" if match[3] else "")


def _year_month(match: re.Match) -> str:
    """Read 1999-12 as a month, unless it can be two years, as 2001-02 can."""
    century, year, month = match.groups()
    if int(month) > int(year):
        return match[0]
    return f"{_MONTHS[int(month) - 1]} {century}{year}"


def _range(match: re.Match) -> str:
    low, high = match.groups()
    return f"{low} to {high}" if int(low) < int(high) else match[0]


def _telephone(match: re.Match) -> str:
    return ", ".join(" ".join(part) for part in match.groups())


def _international(match: re.Match) -> str:
    parts = [match[1], *re.findall(r"\d+", match[2])]
    return "plus " + ", ".join(" ".join(part) for part in parts)


def _digits(match: re.Match) -> str:
    return " " + " ".join(match[0])


def _adjective(match: re.Match) -> str:
    return f"{match[1]} {_SINGULAR_UNITS[match[2].lower()]}"


def _ordinal(match: re.Match) -> str:
    """Read an ending that its number does not have letter by letter, as in 12nd."""
    ending = match[2].lower()
    right = _ending(int(match[1].replace(",", "")))
    return match[1] + (right if ending == right else f" {'.'.join(ending.upper())}.")


def _ending(number: int) -> str:
    return "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _scaled(match: re.Match) -> str:
    return f"{_cardinal(match[1])} {_SCALES[match[2].lower()]}"


def _power(match: re.Match) -> str:
    """Read 10^6 and, as mantissa, sign and exponent, 1e-5."""
    exponent = match[2].replace("-", "minus ").replace("+", "")
    named = {"2": " squared", "3": " cubed"}.get(exponent)
    return match[1] + (named or f" to the power of {exponent}")


def _cubic(match: re.Match) -> str:
    kind = {"s": "square", "c": "cubic"}[match[1][0].lower()]
    return f" {kind} {_LENGTHS[match[2].lower()]}"


def _cents(match: re.Match) -> str:
    return f"{_cardinal(match[1])} {'cent' if match[1] == '1' else 'cents'}"


def _version(match: re.Match) -> str:
    return " point ".join(match[0].split("."))


_BEFORE = [
    # −5 with a minus sign; a dash between numbers
    (r"(?<![\w.])−(?=[\d$£€.])", "-"),
    # 2021-03-09T10:00Z; 1999-12
    (r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(Z\b)?", _clock),
    (r"(?<![\w.,:/@#$£€-])(1\d|20)(\d\d)-(0[1-9]|1[0-2])(?![\w/@:-]|\.\d|,\d)", _year_month),
    # November 16 to 17, 1963
    (
        rf"\b((?:{'|'.join(_MONTHS)}) \d{{1,2}}(?:st|nd|rd|th)?(?: to |-))(\d{{1,2}})"
        r"(?=[,.;)]|$| \d{4}\b)(?![,.]\d{1,3}\b)",
        lambda match: match[1] + match[2] + _ending(int(match[2])),
    ),
    # 5'10", 6'2
    (r"(?<!\w)(\d)'\s?(\d{1,2})\"", r"\1 feet \2 inches"),
    (r"(?<!\w)(\d)'(\d{1,2})(?!\w)", r"\1 feet \2"),
    # 6 ft 2 in
    (r"(?<=\d)( ft\.? \d{1,2}) in\b(?!\.?\s+[a-z])", r"\1 inches"),
    # 5in, 6 cu. ft., 10 m/s, 20° C
    (r"(?<=\d)in\b", " inches"),
    (rf"(?i)(?<=\d)\s?(sq|cu)\b\.?\s?({'|'.join(_LENGTHS)})\b\.?", _cubic),
    (r"(?<=\d)\s?m/s\b", " meters per second"),
    (r"(?<=\d°)\s+(?=[CF]\b)", ""),
    # 10^6, 1e-5, ~5, ±5
    (r"\b(\d+|[A-Za-z])\^([+-]?\d+)\b", _power),
    (
        r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([+-]\d+)\b",
        lambda match: f"{match[1]} times 10 to the power of {match[2].replace('-', 'minus ')}",
    ),
    (r"(?<!\w)~\s?(?=[\d$£€.])", "about "),
    (r"([≈±≤≥≠])(?=\d)", r"\1 "),
    # 1.000.000 and 1'000
    (r"(?<![\d.,'])[1-9]\d{0,2}(?:(?:\.\d{3}){2,}|(?:'\d{3})+)(?![\d'])", _with_commas),
    # 50/50, 24/7, 3:2
    (r"(?<![\d/])(\d+)/\1(?![\d/])", r"\1 \1"),
    (r"(?<![\d/])24/7(?![\d/])", "24 7"),
    (r"(?<![\d:])(\d{1,2}):(\d)(?![\d:])", r"\1 to \2"),
    # 5 x 3
    (r"(?<=\d)\s+x\s+(?=\d)", " by "),
    # p. 5, ch. 3, but 5 sec. 3
    (
        rf"(?i)(?<!\d )(?<!\w)({'|'.join(REFERENCES)})\.\s?(?=\d)",
        lambda match: f"{REFERENCES[match[1].lower()]} ",
    ),
    # 1.5M
    (r"(?<![\w.,$£€])(\d+\.\d+)([MBK]|[mbt]n)\b", _scaled),
    # 10², x³; but 5 m² is a measure
    (r"(?<=\d)²|(?<!\d\s[A-Za-z])(?<=\b[A-Za-z])²", " squared"),
    (r"(?<=\d)³|(?<!\d\s[A-Za-z])(?<=\b[A-Za-z])³", " cubed"),
    # a 6-ft. wall
    (rf"(?i)(?<![\w.])({_AMOUNT})-({'|'.join(_SINGULAR_UNITS)})\b\.?", _adjective),
    # 5 lb. of it, whose dot ends no sentence; 3 in. of it, which is no preposition
    (r"(?<=\b1)\s?in\.(?=[,;:)]|\s+[a-z\d])", " inch"),
    (r"(?<=\d)\s?in\.(?=[,;:)]|\s+[a-z\d])", " inches"),
    (rf"(?<=\d)(\s?(?:{_UNITS}))\.(?=[,;:)]|\s+[a-z\d])", r"\1"),
    # 111st, which the grammars would read as "eleven saint"
    (r"(?<=\d)-(?=(?:st|nd|rd|th)\b)", ""),
    (r"(?<=\d)(st|nd|rd|th)-(?=\d+(?:st|nd|rd|th)\b)", r"\1 to "),
    (r"(?i)(?<![\w.,])(\d++(?:,\d{3})*+)(st|nd|rd|th)\b", _ordinal),
    # 100s of them
    (r"(?<![\w.,])100s\b", "hundreds"),
    (r"(?<![\w.,])1,?000s\b", "thousands"),
    # 50¢
    (rf"(?<![\w.])({_AMOUNT})\s?¢", _cents),
    # 5 €; $5-a-day; 5%-10%; 2.5-3.5
    (rf"(?<![\w.,$£€])({_AMOUNT})\s?([$£€])(?![\w.,])", r"\2\1"),
    (rf"([$£€]{_AMOUNT})-(?=[a-z]{{1,4}}\b)(?!{_SCALE})", r"\1 "),
    (r"(?<=\d%)-(?=\d)", " to "),
    (r"(?<![\w.,/-])(\d+\.\d+)-(\d+\.\d+)(?![\w.,/-])", r"\1 to \2"),
    # $5m-$10m
    (rf"(?i)(\d[\s-]?{_SCALE})\s?-\s?(?=[$£€]\d)", r"\1 to "),
    # -$5.20, US$5, $1.5M, $5-10 million
    (
        rf"(?<!\w)((?<!-)-)?({'|'.join(_COUNTRIES)})?([$£€])\s?({_AMOUNT})"
        rf"(?:\s?-\s?(\3)?({_AMOUNT}))?+(?:[\s-]?((?i:{_SCALE})))?+(?!\w|\.\d)",
        _spoken_currency,
    ),
    # 10 000 with a no-break or thin space
    (r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}\b)", ","),
    # 10 000
    (r"(?<![\d,.])\d{1,3}(?: \d{3})* 000\b", lambda match: match[0].replace(" ", ",")),
    # 12345, but not 007, nor a ZIP code after its state
    (
        r"(?<![\w.,:/@#$£€¥₩-])(?<![A-Z]{2} )(?<![A-Z]{2}, )[1-9]\d{4,8}"
        r"(?![\w/@:-]|\.\d|,\d)",
        _with_commas,
    ),
    # 555-1234
    (r"(?<![\w.,:/@#$£€)-])(?<!\) )(\d{3})-(\d{4})(?![\w/@:-]|\.\d|,\d| ?=)", _telephone),
    # 5-10, but not a longer telephone number
    (
        r"(?<![\w.,:/@#$£€)-])(?<!\) )(?!\d{3}-\d{4})(\d{1,4})-(\d{1,4})"
        r"(?![\w/@:-]|\.\d|,\d| ?=)",
        _range,
    ),
    # C2766, whose digits are read one by one, but T2000
    (r"(?<=[A-Za-z])(?<![$£€#\d]\w)\d{4,}(?<!00)(?!\w|[.:/-]\w)", _digits),
    (r"(?i)(?<=\boffice box )\d+|(?<=\bp\.o\. box )\d+|(?<=\bpo box )\d+", _digits),
    # 1.2.3, which is no date
    (r"(?<![\d.])\d{1,2}(?:\.\d{1,2}){2}(?!\.?\d)", _version),
    # +1 555 123 4567
    (r"(?<!\w)\+(\d{1,3})((?:[ .-]\(?\d{2,4}\)?){2,4})(?![\w])", _international),
    # No. 5, #5
    (r"\b(?:No\.|Nos\.|no\.|nos\.)\s?(?=\d)|#\s?(?=\d)", "number "),
]
"""What the grammars would misread, or refuse. Patterns are compiled when a text needs them."""
_LETTERS = re.compile(r"\b[A-Z]{2,4}\b")
_GLUED = re.compile(r"\A([,;:!?)\]]+)(?=[A-Za-z])")
"""Punctuation after a number with no blank after it: 1!hello"""
_AFTER = [
    (rf"\b({_TENS}) (?=(?:{_ONES}|{_ORDINALS})\b)", r"\1-"),
    (rf"\bhundred (?={_BELOW_HUNDRED})", "hundred and "),
    (
        rf"\b(thousand|million|billion|trillion) (?={_BELOW_HUNDRED}(?! hundred| thousand))",
        r"\1 and ",
    ),
    (r"\b(dollars?|pounds?|euros?) (?=[\w-]+ (?:cents?|penny|pence)\b)", r"\1 and "),
    (rf"\bo (?=(?:{_ONES})\b)", "oh "),
    (r"(?i)\bper h\b", "per hour"),
    (r"\bdivided (?!by\b)", "divided by "),
    (r"\bWWW\b", "www"),
    (r"\b([AP])M\b", r"\1.M."),
]
"""The style of the words: "one hundred and twenty-one" where the grammars say "one hundred twenty
one"."""


def write_out_numbers(text: str) -> str:
    """Replace numbers, dates, times, amounts, measures and addresses in a text by words."""
    if not _WRITTEN.search(text):
        return text
    for pattern, spoken in _BEFORE:
        text = re.sub(pattern, spoken, text)
    # The grammars would read a closing quotation mark after a number as inches.
    text = re.sub(r'("[^"]*\d)"', r"\1”", text)
    written, position = [], 0
    for start, end, spoken, kind in verbalise(text):
        if _WRITTEN.search(text[start:end]):
            before = _GLUED.sub(r"\1 ", text[position:start]) if position else text[:start]
            spoken = " ".join(spoken.split())
            for pattern, replacement in _AFTER:
                spoken = re.sub(pattern, replacement, spoken)
            if kind in ("date", "time"):  # five A.M., 340 B.C.
                spoken = _LETTERS.sub(lambda match: ".".join(match[0]) + ".", spoken)
            written += [before, " " if re.search(r"[\w,;:!?]$", before) else "", spoken]
            written.append(" " if text[end : end + 1].isalnum() else "")
            position = end + (spoken.endswith(".") and text[end : end + 1] == ".")
    return "".join([*written, _GLUED.sub(r"\1 ", text[position:])]).replace("”", '"')
