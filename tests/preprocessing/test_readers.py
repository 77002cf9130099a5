"""Readers of CSV tables and metadata.csv lose no row and no part of a text."""

from pathlib import Path

import pytest
import soundfile
from conftest import changed
from intake import TEXTS, ljspeech_corpus, table_corpus, tone

from pipeline.errors import FaultsError, RecipeError
from pipeline.files import read_csv
from preprocessing.corpus.build import build_corpus
from preprocessing.corpus.metadata import Utterance, read_metadata, read_reasons, write_metadata
from preprocessing.corpus.readers import read_folders, read_table
from preprocessing.settings import FolderSource, TableSource


def source_of(folder: Path, table: str, **changes) -> TableSource:
    """Write four recordings and a table with these rows; return its `corpus.source`."""
    source = table_corpus(folder, {name: "" for name in "abcd"}).corpus.source
    (folder / "list.csv").write_text(f"file,said\n{table}", "utf-8")
    return changed(source, **changes)


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
                ("line 3", "ends a row that began in line 2"),
                ("line 4", "has more fields than the first line"),
            ],
        ),
    ],
)
def test_faulty_rows_are_reported_by_their_line(tmp_path, table, faults):
    with pytest.raises(FaultsError, match="quotation marks") as caught:
        read_table(source_of(tmp_path, table))
    assert caught.value.faults == faults


def test_another_delimiter_is_reported_as_missing_columns(tmp_path):
    source = source_of(tmp_path, "")
    Path(source.table).write_text("file|said\na.wav|Hello, you, there.\n")
    with pytest.raises(RecipeError, match="has no row with file and said.*corpus.source.delimiter"):
        read_table(source)
    Path(source.table).write_text("file,said\n")
    with pytest.raises(RecipeError, match="has no row with file and said"):
        read_table(source)


def test_quotation_marks_may_be_part_of_texts(tmp_path):
    rows = 'a.wav|"Hello," he said.\nb.wav|"Hello\nc.wav|He said "no".\n'
    source = source_of(tmp_path, "", delimiter="|")
    Path(source.table).write_text(f"file|said\n{rows}")
    with pytest.raises(FaultsError):
        read_table(source)
    source.quoting = "none"
    texts = [recording.text for recording in read_table(source)]
    assert texts == ['"Hello," he said.', '"Hello', 'He said "no".']
    with pytest.raises(RecipeError, match="quoting=some: choose one of minimal, none"):
        changed(source, quoting="some")


def test_metadata_that_stage_1_writes_can_be_read(tmp_path):
    """Texts may contain `|` and any line break of Unicode."""
    utterances = [
        Utterance("a", "One\ntwo\u2028three | four\x85", "one two|three\r\nfour"),
        Utterance("b", "Plain.", "plain."),
    ]
    write_metadata(tmp_path / "metadata.csv", utterances)
    assert read_metadata(tmp_path / "metadata.csv") == [
        Utterance("a", "One two three four", "one two three four"),
        Utterance("b", "Plain.", "plain."),
    ]


def test_a_text_file_may_have_several_lines(tmp_path):
    config = table_corpus(tmp_path)
    for name, text in TEXTS.items():
        (tmp_path / f"{name}.txt").write_text(text.replace(" ", "\n", 1))
    source = {"folder": str(tmp_path), "recordings": "{id}.wav", "texts": "{id}.txt"}
    config = changed(config, corpus__layout="folders", corpus__source=source)
    build_corpus(config)
    found = {each.id: each.raw for each in read_metadata(f"{config.paths.corpus}/metadata.csv")}
    assert found == TEXTS


@pytest.mark.parametrize("line, fields", [("a", 1), ("a|b|c|d", 4)])
def test_lines_of_metadata_have_two_or_three_fields(tmp_path, line, fields):
    path = tmp_path / "metadata.csv"
    path.write_text("x|Text.\ny|Text 2.|text two.\n")
    assert [each.text for each in read_metadata(path)] == ["Text.", "text two."]
    path.write_text(f"x|Text.\n{line}\n")
    message = f"line 2: has {fields} fields instead of 3, or 2 without(.|\n)*or id.text"
    with pytest.raises(FaultsError, match=message):
        read_metadata(path)


def test_texts_that_are_not_utf8_are_reported_with_their_files(tmp_path):
    texts = {"one": "Caf\u00e9.", "two": "Tea.", "three": "Fianc\u00e9."}
    config = table_corpus(tmp_path, texts)
    table = tmp_path / "list.csv"
    table.write_bytes(table.read_text("utf-8").encode("latin-1"))
    with pytest.raises(RecipeError, match="list.csv is not UTF-8: .*iconv -f latin1"):
        build_corpus(config)

    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_bytes(text.encode("latin-1"))
    source = {"folder": str(tmp_path), "recordings": "{id}.wav", "texts": "{id}.txt"}
    with pytest.raises(FaultsError, match="2 faults(.|\n)*one.txt: is not UTF-8") as caught:
        read_folders(FolderSource(**source))
    assert len(caught.value.faults) == 2

    lines = "".join(f"{name}|{text}\n" for name, text in texts.items())
    (tmp_path / "metadata.csv").write_bytes(lines.encode("latin-1"))
    with pytest.raises(FaultsError, match="line 1: is not UTF-8") as caught:
        read_metadata(tmp_path / "metadata.csv")
    assert [name for name, _ in caught.value.faults] == ["line 1", "line 3"]


@pytest.mark.parametrize(
    "contents",
    [
        "a.wav|Text.\nwavs/b.wav|Text 2.|text two.\n",
        "C:\\wavs\\a.WAV|Text.\r\nwavs\\b|Text 2.|text two.\r\n",
        "a | Text. \nb | Text 2. | text two. \n",
        "\na|Text.\n\nb|Text 2.|text two.\r\n \n",
    ],
)
def test_metadata_may_have_file_names_blanks_and_blank_lines(tmp_path, contents):
    path = tmp_path / "metadata.csv"
    path.write_bytes(contents.encode())
    expected = [Utterance("a", "Text.", "Text."), Utterance("b", "Text 2.", "text two.")]
    assert read_metadata(path) == expected


def test_a_row_taken_out_of_metadata_leaves_its_recording_out(tmp_path):
    """Stage 1 advises this for faulty recordings, so it has to work."""
    config = ljspeech_corpus(tmp_path)
    soundfile.write(tmp_path / "wavs" / "two.wav", tone(), 16000)
    with pytest.raises(FaultsError, match="two.wav: has a sample rate.*\n.*out of metadata.csv"):
        build_corpus(config)
    metadata = tmp_path / "metadata.csv"
    metadata.write_text("".join(f"{n}|{t}\n" for n, t in TEXTS.items() if n != "two"))
    config.corpus.source.clips = 3
    with pytest.raises(FaultsError, match="two: has a recording but(.|\n)*clips=null"):
        build_corpus(config)
    config.corpus.source.clips = None
    build_corpus(config)
    folder = Path(config.paths.corpus)
    assert sorted(path.stem for path in (folder / "wavs").iterdir()) == ["one", "three"]
    reasons = read_reasons(folder / "dropped.csv")
    assert reasons == [("two", "has a recording but no row in metadata.csv")]


def test_stage_1_lists_what_it_replaced_in_texts(tmp_path):
    texts = {"one": "Dr. Lee paid 5 euros.", "two": "The weather is fine.", "three": "See Act II."}
    config = table_corpus(tmp_path, texts)
    build_corpus(config)
    assert read_csv(Path(config.paths.corpus) / "texts.csv") == [
        {"id": "one", "written": "5", "spoken": "five", "rule": "numbers", "ambiguous": ""},
        {
            **{"id": "one", "written": "Dr.", "spoken": "doctor", "rule": "abbreviations"},
            "ambiguous": "saint or street, doctor or drive",
        },
        {
            **{"id": "three", "written": "II.", "spoken": "two.", "rule": "abbreviations"},
            "ambiguous": "Roman numeral or letters",
        },
    ]


def test_a_third_field_that_is_no_text_is_reported(tmp_path):
    """Lists for several speakers have `id|text|speaker`."""
    config = ljspeech_corpus(tmp_path, {"one": "Hello my friend.", "two": "It is 1990 now, Sir."})
    rows = "one|Hello my friend.|speaker_3\ntwo|It is 1990 now, Sir.|it is nineteen ninety now\n"
    (tmp_path / "metadata.csv").write_text(rows)
    with pytest.raises(FaultsError, match="one: has the third field 'speaker_3'") as caught:
        build_corpus(config)
    assert len(caught.value.faults) == 1
