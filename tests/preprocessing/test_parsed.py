"""TextGrids that stage 2 has parsed are parsed again only if they have changed."""

import os
from pathlib import Path

import pytest
from intake import write_grid

from pipeline.errors import UtteranceError
from preprocessing.alignment import parsed
from preprocessing.alignment.parsed import TextGrids
from preprocessing.alignment.textgrid import read_textgrid
from preprocessing.text.phones import ARPABET

ROWS = [("", 0.0, 0.1), ("HH", 0.1, 0.23), ("AY1", 0.23, 1 / 3), ("sil", 1 / 3, 0.5)]


def grid(folder: Path, name: str) -> Path:
    return folder / "TextGrid" / f"{name}.TextGrid"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Stage 2's folder with a sound TextGrid, one of silence, a damaged and a missing one."""
    write_grid(grid(tmp_path, "sound"), ROWS)
    write_grid(grid(tmp_path, "silent"), [("", 0.0, 0.5)])
    grid(tmp_path, "damaged").write_text("nonsense")
    grids = TextGrids(tmp_path, {})
    grids.alignment("sound", ARPABET)
    for name, kind in (
        ("silent", "phones_missing"),
        ("damaged", "textgrid_unreadable"),
        ("missing", "textgrid_missing"),
    ):
        with pytest.raises(UtteranceError) as fault:
            grids.alignment(name, ARPABET)
        assert fault.value.kind == kind
    grids.save()
    return tmp_path


@pytest.fixture
def parses(monkeypatch) -> list[str]:
    """The names of TextGrids as they are parsed."""
    names: list[str] = []

    def parse(path: Path):
        names.append(path.stem)
        return parse_textgrid(path)

    parse_textgrid = parsed.parse_textgrid
    monkeypatch.setattr(parsed, "parse_textgrid", parse)
    return names


def test_unchanged_textgrids_give_the_same_alignments_and_faults_without_parsing(folder, parses):
    names = ("sound", "silent", "damaged", "missing")
    grids = TextGrids.load(folder).part(names)
    for name in names:
        try:
            expected = read_textgrid(grid(folder, name))
        except UtteranceError as error:
            with pytest.raises(UtteranceError) as fault:
                grids.alignment(name, ARPABET)
            assert (fault.value.kind, str(fault.value)) == (error.kind, str(error))
        else:
            assert grids.alignment(name, ARPABET) == expected
    with pytest.raises(UtteranceError, match="not the corpus's: AY1, HH"):
        grids.alignment("sound", frozenset({"a"}))
    assert parses == []


def test_changed_added_and_removed_textgrids_are_noticed(folder, parses):
    state = grid(folder, "sound").stat()
    text = grid(folder, "sound").read_text()
    grid(folder, "sound").write_text(text.replace("AY1", "EY1"))  # of the same size
    os.utime(grid(folder, "sound"), ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    for name in ("silent", "missing"):
        write_grid(grid(folder, name), ROWS)
    grid(folder, "damaged").unlink()
    grids = TextGrids.load(folder)
    labels = [
        [phone.label for phone in grids.alignment(name, ARPABET).phones]
        for name in ("sound", "silent", "missing")
    ]
    assert labels == [["HH", "EY1"], ["HH", "AY1"], ["HH", "AY1"]]
    with pytest.raises(UtteranceError, match="has no TextGrid"):
        grids.alignment("damaged", ARPABET)
    assert parses == ["sound", "silent", "missing", "damaged"]
    grids.alignment("sound", ARPABET)
    assert len(parses) == 4, "what was parsed anew is kept"


def test_textgrids_of_another_size_are_noticed_whatever_their_time(folder, parses):
    state = grid(folder, "sound").stat()
    write_grid(grid(folder, "sound"), [*ROWS, ("B", 0.5, 0.6)])
    os.utime(grid(folder, "sound"), ns=(state.st_atime_ns, state.st_mtime_ns))
    phones = TextGrids.load(folder).alignment("sound", ARPABET).phones
    assert [phone.label for phone in phones] == ["HH", "AY1", "sp", "B"]


def test_alignments_that_have_no_file_of_parsed_textgrids_are_parsed(folder, parses):
    (folder / parsed.FILE).unlink()
    assert len(TextGrids.load(folder).alignment("sound", ARPABET).phones) == 2
    assert parses == ["sound"]
