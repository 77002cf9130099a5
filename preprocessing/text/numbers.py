"""English numbers as words: amounts of money, times, ordinals, years, versions."""

import re

_CURRENCIES = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
_COUNTRIES = {"US": "U.S. ", "A": "Australian ", "C": "Canadian ", "HK": "Hong Kong ",
              "NZ": "New Zealand "}  # fmt: skip
_SCALES = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion",
           "tn": "trillion"}  # fmt: skip

# Possessive quantifiers keep a rule from matching part of a number.
_WHOLE = r"(?:[1-9]\d{0,2}(?:,\d{3})++(?!\d)|\d++)"
_AMOUNT = rf"{_WHOLE}(?:\.\d++)?+"
# A single letter is a scale only if it follows the digits directly, unlike in "a $20 B-side".
_SCALE = r"(?:thousand|million|billion|trillion|[mbt]n|(?<=\d)[kmb])(?!\w)"


def _integer(number: str) -> int:
    return int(number.replace(",", ""))


def _cardinal(number: str) -> str:
    from num2words import num2words

    whole, point, decimals = number.partition(".")
    spoken = num2words(_integer(whole)).replace(",", "")
    # Decimals are read digit by digit, because the last zero of 1.10 is spoken.
    return f"{spoken} point {_digits(decimals)}" if point else spoken


def _digits(number: str) -> str:
    return " ".join(_cardinal(digit) for digit in number)


def _spoken(number: str) -> str:
    """Read a number: years in pairs of digits, long numbers without commas digit by digit."""
    from num2words import num2words

    whole = number.lstrip("-")
    if whole.isdigit() and (len(whole) > 1 and whole[0] == "0" or len(whole) > 9):
        spoken = _digits(whole)
    elif whole.isdigit() and 1100 <= int(whole) <= 2099:
        spoken = num2words(int(whole), to="year")
    else:
        spoken = _cardinal(whole)
    return ("minus " if number.startswith("-") else "") + spoken


def _spoken_currency(match: re.Match) -> str:
    minus, country, symbol, low, high, scale = match.groups()
    scale = (scale or "").lower()
    unit, subunit = _CURRENCIES[symbol]
    unit, scale = _COUNTRIES.get(country, "") + unit, _SCALES.get(scale, scale)
    spoken = _money(high or low, scale, unit, subunit)
    if high:
        # "five to ten dollars", but "one dollar and fifty cents to two dollars"
        in_full = not scale and "." in low + high
        spoken = f"{_money(low, scale, unit, subunit) if in_full else _cardinal(low)} to {spoken}"
    return f"minus {spoken}" if minus else spoken


def _money(amount: str, scale: str, unit: str, subunit: str) -> str:
    whole, _, part = amount.partition(".")
    if scale:
        return f"{_cardinal(amount)} {scale} {unit}s"
    if len(part) > 2:
        return f"{_cardinal(amount)} {unit}s"
    spoken = f"{_cardinal(whole)} {unit}{'' if _integer(whole) == 1 else 's'}"
    if int(part or 0):
        subunits = "pence" if subunit == "penny" else f"{subunit}s"
        part = int(part.ljust(2, "0"))
        spoken += f" and {_cardinal(str(part))} {subunit if part == 1 else subunits}"
    return spoken


def _spoken_clock(match: re.Match) -> str:
    hour, minute = match.groups()
    if minute == "00":
        return f"{_cardinal(hour)} o'clock"
    return f"{_cardinal(hour)} {'oh ' if minute < '10' else ''}{_cardinal(minute)}"


def _spoken_ordinal(match: re.Match) -> str:
    from num2words import num2words

    return num2words(_integer(match[1]), to="ordinal").replace(",", "")


def _spoken_decade(match: re.Match) -> str:
    spoken = _spoken(match[1])
    return f" {spoken[:-1]}ies " if spoken.endswith("y") else f" {spoken}s "


def _spoken_version(match: re.Match) -> str:
    return f" {' point '.join(_spoken(number) for number in match[0].split('.'))} "


def _spoken_feet(match: re.Match) -> str:
    number, between = match.groups()
    return f"{number} {'foot' if number == '1' or between == '-' else 'feet'}"


# The rules apply in this order, each to the result of the rules before it.
_RULES = [
    (re.compile(pattern), spoken)
    for pattern, spoken in (
        # 10²
        (r"(?<=\d|\b[A-Za-z])²", " squared"),
        (r"(?<=\d|\b[A-Za-z])³", " cubed"),
        # 6 ft., 6-ft.; but not "In 1849 Ft. Worth"
        (rf"(?<![\w.])({_AMOUNT})([\s-]?)(?:ft|FT)\b\.?", _spoken_feet),
        # $5m-$10m
        (rf"(?i)(\d[\s-]?{_SCALE})\s?-\s?(?=[$£€]\d)", r"\1 to "),
        # $5, -$5.20, US$5, $1.5M, $5-10 million
        (
            rf"(?<!\w)((?<!-)-)?({'|'.join(_COUNTRIES)})?([$£€])\s?({_AMOUNT})"
            rf"(?:\s?-\s?\3?({_AMOUNT}))?+(?:[\s-]?((?i:{_SCALE})))?+(?!\w|\.\d)",
            _spoken_currency,
        ),
        # 5-10
        (r"(?<=\d)\s?-\s?(?=\d)", " to "),
        # 10:05
        (r"\b([01]?\d|2[0-3]):([0-5]\d)\b", _spoken_clock),
        # 3rd, 1,000th
        (rf"(?i)\b({_WHOLE})(?:st|nd|rd|th)\b", _spoken_ordinal),
        # 1990s, '90s
        (r"(?<![\w.])'?((?:1[1-9]|20)\d0|[2-9]0)'?s\b", _spoken_decade),
        # No. 5, #5
        (r"(?:No\.|#)\s?(?=\d)", "number "),
        # 1.2.3
        (r"\d+(?:\.\d+){2,}", _spoken_version),
        # -5, 2.50, 1,000, 1963
        (rf"(?<![\w.])-?{_AMOUNT}|{_AMOUNT}", lambda match: f" {_spoken(match[0])} "),
    )
]


def write_out_numbers(text: str) -> str:
    """Replace all numbers in a text by words."""
    for pattern, spoken in _RULES:
        text = pattern.sub(spoken, text)
    return text
