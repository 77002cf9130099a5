"""Russian numbers and abbreviations as words, by num2words.

A number takes the case that stands beside it: years before a form of `год`, days before a month,
ordinals with their endings, and otherwise the nominative, since a preposition's case cannot be told
without parsing. What is not covered keeps its digits or letters, which have no pronunciation, so
such a text is refused rather than misread.
"""

import re
import unicodedata

_CASES_OF_YEAR = {"год": "n", "года": "g", "году": "p", "годом": "i", "годе": "p"}
_MONTHS = "января|февраля|марта|апреля|мая|июня|июля|августа|сентября|октября|ноября|декабря"
_ENDINGS = {  # case and gender of the adjective
    "й": ("n", "m"), "ый": ("n", "m"), "ой": ("n", "m"), "я": ("n", "f"), "ая": ("n", "f"),
    "е": ("n", "n"), "ое": ("n", "n"), "го": ("g", "m"), "ого": ("g", "m"), "му": ("d", "m"),
    "м": ("p", "m"), "ом": ("p", "m"), "ю": ("a", "f"), "ую": ("a", "f"),
}  # fmt: skip
_UNITS = {  # after 1, after 2 to 4, after 5
    "%": "процент процента процентов", "₽": "рубль рубля рублей", "руб": "рубль рубля рублей",
    "коп": "копейка копейки копеек", "$": "доллар доллара долларов", "€": "евро евро евро",
    "км": "километр километра километров", "см": "сантиметр сантиметра сантиметров",
    "м": "метр метра метров", "кг": "килограмм килограмма килограммов",
    "тыс": "тысяча тысячи тысяч", "млн": "миллион миллиона миллионов",
    "млрд": "миллиард миллиарда миллиардов", "мин": "минута минуты минут",
}  # fmt: skip
_FEMININE = ("коп", "тыс", "мин")
_ABBREVIATIONS = {
    r"т\.\s?е\.": "то есть", r"и\sт\.\s?д\.": "и так далее", r"и\sт\.\s?п\.": "и тому подобное",
    r"т\.\s?к\.": "так как", r"и\sдр\.": "и другие", r"и\sпр\.": "и прочее", "г-н": "господин",
    "г-жа": "госпожа", r"ул\.": "улица", r"проф\.": "профессор", r"акад\.": "академик",
    r"им\.": "имени", r"н\.\s?э\.": "нашей эры", "№": "номер ",
}  # fmt: skip
_RULES = [
    (re.compile(rf"(?<!\w){written}(?!\w)" if written != "№" else written), spoken)
    for written, spoken in _ABBREVIATIONS.items()
]
_THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3})((?:[ \u00a0\u202f]\d{3})+)(?!\d)")
_YEAR = re.compile(r"(?:(\b[ВвКкОоПп][ое]?\s)?)\b(\d{1,4})\s(год(?:а|у|ом|е)?\b|гг?\.)")
_DAY = re.compile(rf"\b(\d{{1,2}})(?=\s(?:{_MONTHS})\b)")
_DECADE = re.compile(r"\b(\d+)-е(?=\sгоды\b)")
_CLOCK = re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)\b(?!:)")
_ORDINAL = re.compile(rf"\b(\d+)-({'|'.join(sorted(_ENDINGS, key=len, reverse=True))})\b")
_MEASURED = re.compile(
    rf"(?<![\w.,:/-])(\d+)(,\d+)?\s?({'|'.join(map(re.escape, sorted(_UNITS, reverse=True)))})"
    r"(?!\w)\.?"
)
_NUMBER = re.compile(r"(?<![\w.,:/−-])([−-]?)(\d+)(?:,(\d+))?(?![\w:/]|[.,-]\d)")


def normalise(text: str) -> str:
    """Write out numbers, years, days, times, units and abbreviations; keep all else."""
    text = unicodedata.normalize("NFC", text)
    for written, spoken in _RULES:
        text = written.sub(spoken, text)
    if not re.search(r"\d", text):
        return text
    text = _THOUSANDS.sub(lambda match: re.sub(r"\s", "", match[0]), text)
    text = _YEAR.sub(_spoken_year, text)
    text = _DAY.sub(lambda match: _ordinal(match[1], "g", "n"), text)
    text = _DECADE.sub(lambda match: _ordinal(match[1], "n", "m", plural=True), text)
    text = _CLOCK.sub(lambda match: f"{_cardinal(match[1])} {_minutes(match[2])}", text)
    text = _ORDINAL.sub(lambda match: _ordinal(match[1], *_ENDINGS[match[2]]), text)
    text = _MEASURED.sub(_spoken_measure, text)
    return _NUMBER.sub(
        lambda match: ("минус " if match[1] else "") + _decimal(match[2], match[3]), text
    )


def _cardinal(number: str, gender: str = "m") -> str:
    from num2words import num2words

    return num2words(int(number), lang="ru", gender=gender)


def _ordinal(number: str, case: str, gender: str, plural: bool = False) -> str:
    from num2words import num2words

    form = {"case": case, "gender": gender, "plural": plural, "animate": False}
    return num2words(int(number), lang="ru", to="ordinal", **form)


def _decimal(whole: str, decimals: str | None) -> str:
    from num2words import num2words

    return num2words(f"{whole}.{decimals}", lang="ru") if decimals else _cardinal(whole)


def _minutes(digits: str) -> str:
    if digits == "00":
        return "ноль ноль"
    return f"ноль {_cardinal(digits)}" if digits[0] == "0" else _cardinal(digits)


def _spoken_year(match: re.Match) -> str:
    preposition, number, word = match.groups()
    if word == "гг.":
        return match[0]
    if word == "г.":
        word = "году" if (preposition or "").strip().lower() == "в" else "года"
    return f"{preposition or ''}{_ordinal(number, _CASES_OF_YEAR[word], 'm')} {word}"


def _spoken_measure(match: re.Match) -> str:
    whole, decimals, unit = match.groups()
    one, few, many = _UNITS[unit].split()
    if decimals:
        return f"{_decimal(whole, decimals[1:])} {few}"
    last, teens = int(whole[-1]), whole[-2:-1] == "1"
    noun = one if last == 1 and not teens else few if 2 <= last <= 4 and not teens else many
    return f"{_cardinal(whole, 'f' if unit in _FEMININE else 'm')} {noun}"
