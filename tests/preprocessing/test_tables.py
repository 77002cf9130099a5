"""CSV tables of a user's own: no row is swallowed, and no part of a text is lost."""

from pathlib import Path

import pytest
from intake import table_corpus
from omegaconf import DictConfig

from preprocessing.errors import FaultsError, RecipeError
from preprocessing.readers import read_table


def source_of(folder: Path, table: str, **changes) -> DictConfig:
    source = table_corpus(folder, {name: "" for name in "abcd"}).corpus.source
    (folder / "list.csv").write_text(f"file,said\n{table}", "utf-8")
    source.update(changes)
    return source


@pytest.mark.parametrize(
    "table, faults",
    [
        ("a.wav,Hello, world\n", [("line 2", "has more fields than the first line")]),
        ("a.wav,Hello\n\nb.wav\n", [("line 4", "has fewer fields than the first line")]),
        (
            'a.wav,Hi\nb.wav,"Hello\nc.wav,"Well," he said.\nd.wav,x\n',
            [("line 3", "cannot be read as CSV: ',' expected after '\"'")],
        ),
        ('a.wav,"Hello\nb.wav,x\n', [("line 2", "cannot be read as CSV: unexpected end of data")]),
        (
            'a.wav,"Hello\nb.wav,Bye"\nc.wav,One,more\n',
            [
                ("line 3", "ends a row of several lines, from line 2 on"),
                ("line 4", "has more fields than the first line"),
            ],
        ),
    ],
)
def test_rows_that_would_lose_something_are_told_by_their_lines(tmp_path, table, faults):
    with pytest.raises(FaultsError, match="quotation marks") as caught:
        read_table(source_of(tmp_path, table))
    assert caught.value.faults == faults


def test_quotation_marks_may_be_a_part_of_texts(tmp_path):
    rows = 'a.wav|"Hello," he said.\nb.wav|"Hello\nc.wav|He said "no".\n'
    source = source_of(tmp_path, "", delimiter="|")
    Path(source.table).write_text(f"file|said\n{rows}")
    with pytest.raises(FaultsError):
        read_table(source)
    source.quoting = "none"
    texts = [recording.text for recording in read_table(source)]
    assert texts == ['"Hello," he said.', '"Hello', 'He said "no".']
    source.quoting = "some"
    with pytest.raises(RecipeError, match="quoting=some: choose one of minimal, none"):
        read_table(source)
