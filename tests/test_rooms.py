"""The rooms of the repository: which of them may import which, and how large a file may be."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PROJECT

ORDER = ["pipeline", "audio", "preprocessing", "hifigan", "fastspeech2", "speech", "evaluation"]
"""A room may import those before it, and `sniper`. Scripts may import all of them."""
ROOMS = {*ORDER, "sniper", "scripts", "recipes"}
MOST_LINES = 350


def sources(folder: str) -> list[Path]:
    """The Python files below a folder of the project."""
    paths = sorted((PROJECT / folder).rglob("*.py"))
    assert paths, f"{folder} has moved: this test would check nothing"
    return paths


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the top-level name and the level of each import in a file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0], node.level


@pytest.mark.parametrize("room", [*ORDER, "sniper"])
def test_a_room_imports_only_the_rooms_below_it(room):
    allowed = {room} if room == "sniper" else {*ORDER[: ORDER.index(room) + 1], "sniper"}
    scripts = {path.stem for path in sources("scripts")}
    wrong = {
        f"{path.relative_to(PROJECT)} imports {name}"
        for path in sources(room)
        for name, _ in imports(path)
        if name in (ROOMS | scripts) - allowed
    }
    assert not wrong


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_imports_are_absolute(room):
    assert not [path for path in sources(room) if any(level for _, level in imports(path))]


def test_sniper_needs_nothing_but_torch():
    frameworks = PROJECT / "sniper" / "integrations"
    foreign = {
        f"{path.relative_to(PROJECT)} imports {name}"
        for path in sources("sniper")
        if frameworks not in path.parents
        for name, _ in imports(path)
        if name not in {*sys.stdlib_module_names, "torch", "sniper"}
    }
    assert not foreign


@pytest.mark.parametrize("folder", sorted({*ROOMS, "tests"}))
def test_no_file_is_too_long(folder):
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in sources(folder)}
    assert not {str(path): count for path, count in lines.items() if count > MOST_LINES}


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
