"""Numbers, dates, times, money, measures and addresses as words, by NeMo's grammars of English.

The grammars are those of nemo_text_processing (NVIDIA, Apache-2.0): one finite-state transducer
that tags a text, and one that verbalises a tag. `make setup` compiles them once; a text loads them
only when it has something to verbalise. We take over only the parts of a text that have a digit or
a symbol, and leave all other words as they were written.
"""

import importlib.util
import itertools
import re
import sys
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import RecipeError
from pipeline.files import atomic_path

FOLDER = Path(sys.prefix) / "share" / "sniper-tts" / "nemo_text_processing-1.2.0"
"""Where the compiled grammars are kept, in the virtual environment."""
_TAGGER, _VERBALISER = "tokenize_and_classify", "verbalize"
_TOKEN = re.compile(r"tokens \{ ")
_NAME = re.compile(r'name: "(.*)"', re.DOTALL)
_FIELD = re.compile(r'\s*(?:(\w+): "(.*?)"(?=\s)|(\w+): (true|false)|(\w+) \{|(\}))', re.DOTALL)
_KEEPS_ORDER = "preserve_order"


class Verbalised(NamedTuple):
    """A part of a text, and how it is spoken."""

    start: int
    end: int
    spoken: str
    kind: str
    """NeMo's semiotic class, such as `date`, or `other`."""


def compile_grammars() -> None:
    """Compile the grammars into `FOLDER`. Takes about a minute of a processor core.

    Raises:
        RecipeError: nemo_text_processing is not installed.
    """
    # The package's __init__ would import tools that need a C compiler to install. We do not
    # install them, and skip it.
    name = "nemo_text_processing.text_normalization"
    package = types.ModuleType(name)
    found = importlib.util.find_spec("nemo_text_processing")
    if found is None:
        raise RecipeError("nemo_text_processing is not installed: run `make setup`")
    package.__path__ = [str(Path(found.submodule_search_locations[0]) / "text_normalization")]
    sys.modules[name] = package
    from nemo_text_processing.text_normalization.en.taggers import tokenize_and_classify
    from nemo_text_processing.text_normalization.en.verbalizers import verbalize_final

    FOLDER.mkdir(parents=True, exist_ok=True)
    tagger = tokenize_and_classify.ClassifyFst(input_case="cased").fst
    verbaliser = verbalize_final.VerbalizeFinalFst().fst
    for name, grammar in ((_TAGGER, tagger), (_VERBALISER, verbaliser)):
        with atomic_path(FOLDER / f"{name}.fst") as temporary:
            grammar.write(str(temporary))


@cache
def _load() -> tuple:
    """Return the tagger and the verbaliser."""
    try:
        import pynini
    except ImportError as error:
        raise RecipeError("pynini is not installed: run `make setup`") from error
    if not (FOLDER / f"{_VERBALISER}.fst").exists():
        print("compiling the grammars of text normalisation, about a minute", flush=True)
        compile_grammars()
    return tuple(pynini.Fst.read(str(FOLDER / f"{name}.fst")) for name in (_TAGGER, _VERBALISER))


def verbalise(text: str) -> Iterator[Verbalised]:
    """Find the parts of a text that are not words, and say how they are spoken."""
    for start, end, tag in _tags(text):
        name = _NAME.fullmatch(tag)
        spoken = name[1] if name else _verbalise_tag(tag)
        if spoken is not None and spoken != text[start:end]:
            kind = "other" if name else tag.partition(" ")[0].rstrip(":")
            yield Verbalised(start, end, spoken, kind)


def _tags(text: str) -> Iterator[tuple[int, int, str]]:
    """Tag a text; yield the place of each token in it and the token's tag."""
    import pynini

    tagger, _ = _load()
    contents = text.encode()
    path = pynini.shortestpath(pynini.escape(text) @ tagger)
    tagged, places = _labels(path)
    begins = [match.start() for match in _TOKEN.finditer(tagged)]
    for begin, after in itertools.pairwise([*begins, len(tagged)]):
        first, last = places[len(tagged[:begin].encode())], places[len(tagged[:after].encode())]
        part = contents[first:last].decode()
        start = len(contents[:first].decode()) + len(part) - len(part.lstrip())
        tag = tagged[begin:after].strip().removeprefix("tokens { ").removesuffix("}").strip()
        yield start, start + len(part.strip()), tag


def _labels(path) -> tuple[str, list[int]]:
    """Return the output of a path, and for each byte of it how many bytes were read before."""
    output, places, read = bytearray(), [], 0
    state = path.start()
    while path.num_states() and path.num_arcs(state):
        arc = next(iter(path.arcs(state)))
        if arc.olabel:
            output.append(arc.olabel)
            places.append(read)
        read += bool(arc.ilabel)
        state = arc.nextstate
    return output.decode(), [*places, read]


def _verbalise_tag(tag: str) -> str | None:
    """Verbalise a tag, in the first order of its fields that the grammar accepts."""
    import pynini

    _, verbaliser = _load()
    for fields in _orders(_parse(_FIELD.finditer(f"{tag} }}"))):
        lattice = pynini.escape(f"tokens {{ {fields}}} ") @ verbaliser
        if lattice.num_states():
            return " ".join(pynini.shortestpath(lattice).string().split())
    return None


def _parse(fields: Iterator[re.Match]) -> list[tuple[str, str | list]]:
    """Parse the fields of a tag up to the brace that closes it."""
    parsed = []
    for match in fields:
        key, value, flag, truth, group, close = match.groups()
        if close:
            break
        if group:
            parsed.append((group, _parse(fields)))
        else:
            parsed.append((key, f'"{value}"') if key else (flag, truth))
    return parsed


def _orders(fields: list[tuple[str, str | list]]) -> Iterator[str]:
    """Write out the fields of a tag in every order, or only as they are if the tag asks for it."""
    keeps = any(key == _KEEPS_ORDER for key, _ in fields)
    for order in [fields] if keeps else itertools.permutations(fields):
        options = [
            [f"{key}: {value} "]
            if isinstance(value, str)
            else [f"{key} {{ {inner}}} " for inner in _orders(value)]
            for key, value in order
        ]
        yield from map("".join, itertools.product(*options))


if __name__ == "__main__":
    compile_grammars()
