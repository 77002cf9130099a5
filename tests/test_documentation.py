"""What the pages of text name has to exist."""

import ast
import re

import pytest
from conftest import PROJECT

import settings

PAGES = ["README.md", "CONTRIBUTING.md", "BENCHMARKS.md", "recipes/README.md"]
PAGES += [
    "evaluation/listening/README.md",
    "recipes/ljspeech/README.md",
    "recipes/allison/README.md",
    "recipes/digits/README.md",
]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    text = (PROJECT / page).read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    missing = [link for link in links if not ((PROJECT / page).parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_targets_of_make(page):
    text = (PROJECT / page).read_text("utf-8")
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z][a-z0-9-]*)", text))
    prose = {"the", "a", "it", "up", "for", "of", "some", "sure", "glibc", "sense", "sum", "each"}
    assert not named - targets - prose


def test_named_functions_exist():
    """`path.py:name` in CONTRIBUTING.md."""
    text = (PROJECT / "CONTRIBUTING.md").read_text("utf-8")
    named = re.findall(r"`([\w/]+\.py):(\w+)`", text)
    assert len(named) > 10
    for path, name in named:
        tree = ast.parse((PROJECT / path).read_text("utf-8"))
        defined = [node.name for node in tree.body if hasattr(node, "name")]
        assert name in defined, f"{path} defines no {name}"


def test_variables_of_the_makefile_are_defined():
    text = (PROJECT / "Makefile").read_text("utf-8")
    defined = set(re.findall(r"^([A-Z_]+) *[?:]?=", text, re.MULTILINE))
    used = set(re.findall(r"\$\((?:value )?([A-Z_]+)\)", text))
    assert used - defined - {"MAKEFILE_LIST"} == set()


def test_the_table_of_settings_is_current_and_explains_each():
    table = (PROJECT / "conf" / "SETTINGS.md").read_text("utf-8")
    assert table == settings.table() + "\n", "run `make settings > conf/SETTINGS.md`"
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) > 150 and not [row[0] for row in rows if not row[-1].strip(" |")]
