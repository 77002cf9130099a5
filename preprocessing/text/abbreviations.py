"""English abbreviations, initials and Roman numerals as words, and the ends of sentences."""

import re

_TITLES = {
    "adm": "admiral", "atty": "attorney", "brig": "brigadier", "capt": "captain",
    "cmdr": "commander", "col": "colonel", "cpl": "corporal", "det": "detective", "dr": "doctor",
    "drs": "doctors", "ens": "ensign", "gen": "general", "gov": "governor", "hon": "honourable",
    "insp": "inspector", "lt": "lieutenant", "maj": "major", "messrs": "messers", "mr": "mister",
    "mrs": "missis", "ms": "miz", "pres": "president", "prof": "professor", "pvt": "private",
    "rep": "representative", "rev": "reverend", "sen": "senator", "sgt": "sergeant",
    "supt": "superintendent",
}  # fmt: skip
_PLACES = {"ft": "fort", "mt": "mount", "pt": "point", "st": "saint"}
_STREETS = {
    "ave": "avenue", "blvd": "boulevard", "ct": "court", "dr": "drive", "expy": "expressway",
    "hwy": "highway", "ln": "lane", "pkwy": "parkway", "pl": "place", "rd": "road", "sq": "square",
    "st": "street",
}  # fmt: skip
_OTHERS = {
    "al": "al", "approx": "approximately",
    "apt": "apartment", "assn": "association", "assoc": "association",
    "bldg": "building", "bros": "brothers", "co": "company", "corp": "corporation",
    "dept": "department", "dist": "district", "esq": "esquire", "est": "established",
    "etc": "et cetera", "fig": "figure", "figs": "figures", "govt": "government",
    "inc": "incorporated", "jr": "junior", "ltd": "limited", "nos": "numbers", "pp": "pages",
    "sr": "senior", "univ": "university", "vol": "volume", "vols": "volumes", "vs": "versus",
}  # fmt: skip
REFERENCES = {
    "ch": "chapter", "eq": "equation", "ext": "extension", "p": "page", "para": "paragraph",
    "sec": "section",
}  # fmt: skip
"""before numbers"""
_MONTHS = {
    "jan": "January", "feb": "February", "mar": "March", "apr": "April", "jun": "June",
    "jul": "July", "aug": "August", "sep": "September", "sept": "September", "oct": "October",
    "nov": "November", "dec": "December",
}  # fmt: skip
_DAYS = {
    "mon": "Monday", "tue": "Tuesday", "tues": "Tuesday", "wed": "Wednesday", "thu": "Thursday",
    "thur": "Thursday", "thurs": "Thursday", "fri": "Friday", "sat": "Saturday", "sun": "Sunday",
}  # fmt: skip
_ANY = {**_STREETS, **_TITLES, **_PLACES, **_OTHERS, **_MONTHS}
_WITHOUT_DOT = ["adm", "capt", "cmdr", "col", "cpl", "dr", "gov", "lt", "maj", "mr", "mrs", "ms",
                "prof", "sgt"]  # fmt: skip
_HEADINGS = (
    "act|apollo|appendix|article|book|canto|chapter|class|division|exhibit|figure|grade|group|"
    "level|mark|number|part|phase|plate|psalm|rule|scene|section|stage|table|title|type|unit|"
    "vatican|vol|volume|war"
)
_REGNAL = (
    "alexander|alfonso|benedict|catherine|charles|clement|edward|elizabeth|ferdinand|francis|"
    "frederick|george|gregory|gustav|henry|innocent|ivan|james|john|leo|leopold|louis|napoleon|"
    "nicholas|paul|peter|philip|pius|pope|ramses|richard|robert|urban|victor|wilhelm|william"
)


def _any(names) -> str:
    return "|".join(sorted(names, key=len, reverse=True))


# Punctuation may follow the dot, but no letter: co.uk is an address.
_ABBREVIATION = re.compile(rf"\b({_any(_ANY)})\.(?!\w)", re.IGNORECASE)
_TITLE = re.compile(rf"\b({_any(map(str.capitalize, _WITHOUT_DOT))})(?=\s+[A-Z][a-z])")
_PLACE = re.compile(r"\b(Ft|Mt)(?=\s+[A-Z][a-z])")
_STREET_OR_TITLE = re.compile(r"\b(St|Dr)\b(\.?)(?!\w)(?=(\s+[A-Z])?)")
_NUMBER = re.compile(r"\d|(?:ty|teen|hundred|one|two|three|four|five|six|seven|eight|nine|ten)$")
_ORDINAL = re.compile(r"(?i)(?:[a-z]+-)?(?:first|second|third|fifth|eighth|ninth|twelfth|[a-z]+th)")
_DOCTORATE = re.compile(r"\bPh\.?\s?D\.?('?s)?(?!\w)\.?")
# J. D. Smith, U.S., a.m.
_INITIALS = re.compile(r"\b(?:[A-Z]\.\s){1,}(?:[A-Z]\.)+(?!\w)|\b(?:[A-Za-z]\.)+[A-Za-z]\b\.?")
# A. Smith, where a title, a name or nothing precedes
_INITIAL = re.compile(r"(^|[(\"]|\b[A-Z][\w'-]*\s|\b(?:and|by)\s)([A-Z])\.(?=\s+[A-Z][a-z])")
_ROMAN = r"(?=[IVXL])(?:XL|X{0,3})(?:IX|IV|V?I{0,3})"
_HEADED = re.compile(rf"\b((?i:{_HEADINGS})\s+)({_ROMAN})(?![\w.]*\w)")
# A name and a numeral of several letters, or a king's name and any but I, which is also a pronoun.
_NAMED = re.compile(
    rf"\b((?:[A-Z][a-z]+\s+(?=[IVX]{{2}})|(?i:{_REGNAL})\s+(?=[VX]\b|I[,.;:)]|I of\b)))"
    rf"({_ROMAN})(?!\.?\w)"
)
# the XIX century, the XVIth dynasty
_CENTURY = re.compile(rf"\b({_ROMAN})(?:st|nd|rd|th)?(?=\s+(?:century|centuries|dynasty)\b)")
# Fri., Dec. 3 and Tues. 5; but "they sat." and "the sun."
_DAY = re.compile(
    rf"\b({_any(map(str.capitalize, _DAYS))})\.(?=,|\s+(?:[A-Z][a-z]{{2,8}}\.?\s+)?\d)"
)
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50}

_SENTENCE_END = re.compile(r"(\S*[.!?…؟।])[\"'”’)\]»]*\s+(?=[\"'“‘(\[«„¿¡]*([^\s\"'“‘(\[«„¿¡]))")
_NO_SENTENCE_END = re.compile(
    r"(?:^|\W)(?:[^\W\d_]|"
    + _any([*_ANY, *REFERENCES, *_DAYS.keys() - {"sat", "sun"}, "no"])
    + r")\.$",
    re.IGNORECASE,
)


def expand_abbreviations(text: str) -> str:
    """Write out abbreviations and Roman numerals; join initials (`J.D. Smith`)."""
    text = _STREET_OR_TITLE.sub(_street_or_title, text)
    text = _ABBREVIATION.sub(_expanded, text)
    text = _DAY.sub(lambda match: _DAYS[match[1].lower()], text)
    text = _CENTURY.sub(lambda match: _spoken_roman(match[1], "ordinal"), text)
    text = _TITLE.sub(lambda match: _TITLES[match[1].lower()], text)
    text = _PLACE.sub(lambda match: _PLACES[match[1].lower()], text)
    text = _HEADED.sub(lambda match: match[1] + _spoken_roman(match[2], "cardinal"), text)
    text = _NAMED.sub(lambda match: f"{match[1]}the {_spoken_roman(match[2], 'ordinal')}", text)
    text = _DOCTORATE.sub(lambda match: "P.H.D.'s" if match[1] else "P.H.D.", text)
    text = _INITIALS.sub(_joined_initials, text)
    return _INITIAL.sub(lambda match: match[1] + letter(match[2]), text)


def _expanded(match: re.Match) -> str:
    name = match[1].lower()
    if name == "ft" and not re.match(r"\s+[A-Z]", match.string[match.end() :]):
        return "feet"
    if name in _MONTHS and match[1].islower():  # "on the mar."
        return match[0]
    return _ANY[name]


def letter(name: str) -> str:
    """Write a letter so that its name is spoken: `A` alone would be the article."""
    return "{EY1}" if name == "A" else name


def _joined_initials(match: re.Match) -> str:
    return "".join(match[0].split()).upper().rstrip(".") + "."


def _street_or_title(match: re.Match) -> str:
    """Read St and Dr as street and drive after a name, unless another name follows."""
    before = match.string[: match.start()].split()[-4:]
    after_name = bool(before) and before[-1][:1].isupper() and before[-1][-1].isalnum()
    numbered = any(_NUMBER.search(word.lower()) for word in before[:-1])
    ends = not match.string[match.end() :].strip()
    if not match[3] and before and _ORDINAL.fullmatch(before[-1]):  # 2nd St.
        return _STREETS[match[1].lower()] + ("." if match[2] and ends else "")
    if after_name and (numbered or not match[3]):
        return _STREETS[match[1].lower()] + ("." if match[2] and (match[3] or ends) else "")
    if match[3]:
        return {"St": "saint", "Dr": "doctor"}[match[1]]
    return match[0]


def _spoken_roman(numeral: str, form: str) -> str:
    from num2words import num2words

    values = [_VALUES[digit] for digit in numeral]
    following = [*values[1:], 0]
    value = sum(-v if v < after else v for v, after in zip(values, following, strict=True))
    return num2words(value, to=form)


def sentences(text: str) -> list[str]:
    """Split a written text at its sentence ends, but not after abbreviations and initials."""
    parts, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        part = text[start : match.end()].strip()
        begins = match[2].isalnum() and not match[2].islower() or match[2] in "{$£€"
        # A part without letters or digits is joined to the next sentence.
        if begins and not _NO_SENTENCE_END.search(match[1]) and re.search(r"\w", part):
            parts.append(part)
            start = match.end()
    rest = text[start:].strip()
    if re.search(r"\w", rest) or not parts:
        parts.append(rest)
    return parts
