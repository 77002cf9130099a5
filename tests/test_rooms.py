"""The rooms of the repository: which of them may import which, and how large a file may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PROJECT

ORDER = ["pipeline", "audio", "preprocessing", "hifigan", "fastspeech2", "speech", "evaluation"]
"""Each room may import those before it, and `sniper`; scripts may import all of them."""
ROOMS = {*ORDER, "sniper", "scripts", "recipes"}
MOST_LINES = 350


def sources(room: str) -> list[Path]:
    return sorted((PROJECT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Top-level names of the modules that a file imports, anywhere in it, and their level."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0], node.level


@pytest.mark.parametrize("room", [*ORDER, "sniper"])
def test_a_room_imports_only_the_rooms_below_it(room):
    allowed = {room} if room == "sniper" else {*ORDER[: ORDER.index(room) + 1], "sniper"}
    wrong = {
        f"{path.relative_to(PROJECT)} imports {name}"
        for path in sources(room)
        for name, _ in imports(path)
        if name in ROOMS - allowed
    }
    assert not wrong
    assert sources(room), f"{room} has moved: this test checks nothing"


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_imports_are_absolute(room):
    relative = [path for path in sources(room) if any(level for _, level in imports(path))]
    assert not relative


def test_sniper_needs_nothing_but_torch():
    import sys

    frameworks = PROJECT / "sniper" / "integrations"
    foreign = {
        f"{path.relative_to(PROJECT)} imports {name}"
        for path in sources("sniper")
        if frameworks not in path.parents
        for name, _ in imports(path)
        if name not in {*sys.stdlib_module_names, "torch", "sniper"}
    }
    assert not foreign


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_no_file_is_too_long(room):
    long = [path for path in sources(room) if len(path.read_text().splitlines()) > MOST_LINES]
    assert not long


def test_no_two_public_classes_share_a_name():
    homes: dict[str, list[str]] = {}
    for room in sorted(ROOMS):
        for path in sources(room):
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes.setdefault(node.name, []).append(str(path.relative_to(PROJECT)))
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1}


def test_the_model_names_no_device():
    """`fastspeech2/model/` leaves every question of hardware to `fastspeech2/kernels/`."""
    words = ("cpu", "cuda", "is_cuda", "autocast", "bfloat16", "device.type")
    named = [
        f"{path.name}: {word}"
        for path in sources("fastspeech2/model")
        for word in words
        if word in path.read_text("utf-8")
    ]
    assert not named
