"""Faulty settings and inputs are reported before an earlier result is deleted."""

import io
import shutil
import tarfile
from pathlib import Path

import conftest
import pytest
from intake import TEXTS, ljspeech_corpus, table_corpus, write_grid

from evaluation.settings import Settings
from pipeline.errors import FaultsError, RecipeError
from pipeline.files import read_json
from preprocessing.alignment.align import align
from preprocessing.corpus.build import build_corpus
from preprocessing.corpus.metadata import read_metadata
from preprocessing.corpus.readers import read_folders
from preprocessing.settings import FolderSource


def changed(config: Settings, **changes) -> Settings:
    """Return a copy with other settings; `source__table` means `corpus.source.table`."""
    return conftest.changed(config, **{f"corpus__{name}": value for name, value in changes.items()})


def is_finished(folder: str) -> bool:
    return read_json(Path(folder) / "stage.json")["complete"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"source__table": "lst.csv"}, "corpus.source.table=lst.csv does not exist"),
        ({"source__text": "spoken"}, "has no row with spoken"),
        ({"source__folder": "/absent"}, "does not exist"),
        ({"layout": "tables"}, "choose one of asterisk, festvox, ljspeech, table"),
        ({"only": ["four"]}, "corpus.only names utterances that are not there: four"),
        (
            {"language": {"lexicon": "/absent", "phones": None}},
            "lexicon=/absent does not exist",
        ),
    ],
)
def test_a_misspelt_setting_leaves_the_finished_corpus(tmp_path, changes, message):
    config = table_corpus(tmp_path)
    build_corpus(config)
    with pytest.raises(RecipeError, match=message):
        build_corpus(changed(config, **changes))
    assert is_finished(config.paths.corpus)
    assert len(list((Path(config.paths.corpus) / "wavs").iterdir())) == len(TEXTS)
    build_corpus(changed(config, only=["one"]))
    assert [path.name for path in (Path(config.paths.corpus) / "wavs").iterdir()] == ["one.wav"]


def test_a_damaged_copy_of_ljspeech_leaves_the_finished_corpus(tmp_path):
    config = ljspeech_corpus(tmp_path)
    build_corpus(config)
    (tmp_path / "wavs" / "two.wav").write_bytes(b"RIFF and no more")
    for changes in ({"source__clips": 3}, {"source__folder": "/absent"}, {"only": ["four"]}):
        with pytest.raises(RecipeError, match="two.wav|no metadata.csv|not there: four"):
            build_corpus(changed(config, **changes))
        assert is_finished(config.paths.corpus)


def test_an_unknown_id_leaves_the_unpacked_corpus(tmp_path):
    config = ljspeech_corpus(tmp_path)
    archive = Path(config.paths.downloads) / "LJSpeech-1.1.tar.bz2"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:bz2") as tar:
        for path in (tmp_path / "metadata.csv", *(tmp_path / "wavs").iterdir()):
            entry = tarfile.TarInfo(f"LJSpeech-1.1/{path.relative_to(tmp_path)}")
            entry.size = path.stat().st_size
            tar.addfile(entry, io.BytesIO(path.read_bytes()))
    source = {"url": f"http://127.0.0.1:9/{archive.name}", "sha256": None, "mirrors": []}
    config = changed(config, source={"folder": None, "clips": 3, "archive": source})
    build_corpus(config)
    with pytest.raises(RecipeError, match="not there: four"):
        build_corpus(changed(config, only=["four"]))
    assert is_finished(config.paths.corpus)
    build_corpus(changed(config, only=["one"]))
    assert [u.id for u in read_metadata(f"{config.paths.corpus}/metadata.csv")] == ["one"]


def test_a_foreign_folder_is_reported_before_anything_is_fetched(tmp_path):
    config = table_corpus(tmp_path)
    Path(config.paths.corpus).mkdir(parents=True)
    (Path(config.paths.corpus) / "thesis.txt").write_text("years of work")
    with pytest.raises(RecipeError, match="holds files that this recipe did not write"):
        build_corpus(changed(config, source__table="absent.csv"))


@pytest.fixture
def aligned(tmp_path) -> Settings:
    """The configuration of a corpus whose stage 2 is finished."""
    config = table_corpus(tmp_path)
    build_corpus(config)
    for name in TEXTS:
        write_grid(tmp_path / "grids" / f"{name}.TextGrid", [("HH", 0, 0.7), ("AY1", 0.7, 1.5)])
    align(config)
    return config


@pytest.mark.parametrize(
    "aligner, message",
    [
        ({"name": "textgrid", "source": "/absent"}, "finds no folder or zip file at /absent"),
        ({"name": "textgrid", "source": __file__}, "is neither a folder nor a zip file"),
        ({"name": "textgrid", "source": str(Path(__file__).parent)}, "No utterance is left"),
        (
            {"name": "mfa", "acoustic_model": "x", "jobs": 1},
            "needs the command `mfa`",
        ),
        ({"name": "vitre"}, "aligner.name=vitre: choose one of viter, mfa, textgrid"),
    ],
)
def test_an_aligner_that_cannot_work_leaves_the_finished_alignments(
    aligned, aligner, message, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))  # has no `mfa`
    with pytest.raises(RecipeError, match=message):
        align(conftest.changed(aligned, aligner=aligner))
    assert is_finished(aligned.paths.alignments)
    assert len(list((Path(aligned.paths.alignments) / "TextGrid").iterdir())) == len(TEXTS)


def test_a_missing_acoustic_model_leaves_the_finished_alignments(aligned, tmp_path, monkeypatch):
    (tmp_path / "mfa").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "mfa").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    aligner = {"name": "mfa", "acoustic_model": "/absent.zip", "sha256": None, "jobs": 1}
    aligned = conftest.changed(aligned, aligner=aligner)
    with pytest.raises(RecipeError, match="aligner.acoustic_model=/absent.zip is not there"):
        align(aligned)
    assert is_finished(aligned.paths.alignments)


def test_utterances_without_pronunciations_are_reported(aligned):
    metadata = Path(aligned.paths.corpus) / "metadata.csv"
    odd = "l" + "anfairpwll" * 8
    metadata.write_text("".join(f"{name}|{odd}|{odd}\n" for name in TEXTS))
    viter = {"name": "viter", "training_minutes": 1, "triphones": False, "seed": 0}
    aligned = conftest.changed(aligned, aligner=viter)
    with pytest.raises(RecipeError, match="aligning: 3 faults(.|\n)*no pronunciation for"):
        align(aligned)
    assert is_finished(aligned.paths.alignments)


@pytest.mark.parametrize("zipped", [False, True])
def test_two_textgrids_of_one_utterance_are_reported(aligned, tmp_path, zipped):
    grids = tmp_path / "grids"
    for chapter in ("A", "B"):
        for name in ("one", "three"):
            write_grid(grids / chapter / f"{name}.TextGrid", [("HH", 0, 1.5)])
    if zipped:
        aligned.aligner.source = shutil.make_archive(str(tmp_path / "grids"), "zip", grids)
    with pytest.raises(FaultsError, match="Keep one for each") as caught:
        align(aligned)
    assert sorted(name for name, _ in caught.value.faults) == ["one", "one", "three", "three"]
    assert is_finished(aligned.paths.alignments)


def test_an_encrypted_zip_is_reported(aligned, tmp_path):
    write_grid(tmp_path / "grids" / "one.TextGrid", [("HH", 0, 1.5)])
    path = Path(shutil.make_archive(str(tmp_path / "grids"), "zip", tmp_path / "grids"))
    contents = bytearray(path.read_bytes())
    contents[contents.index(b"PK\1\2") + 8] |= 1  # the flag in the zip file's directory
    path.write_bytes(contents)
    aligned.aligner.source = str(path)
    with pytest.raises(RecipeError, match=r"is encrypted \(one.TextGrid needs a password\)"):
        align(aligned)
    assert is_finished(aligned.paths.alignments)


def test_two_texts_of_one_recording_are_reported(tmp_path):
    table_corpus(tmp_path, {"one": "", "two": ""})
    for name in ("a/one", "b/one", "b/two"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.txt").write_text(f"The text {name}.")
    source = {"folder": str(tmp_path), "recordings": "{id}.wav", "texts": "*/{id}.txt"}
    with pytest.raises(FaultsError) as caught:
        read_folders(FolderSource(**source))
    texts = f"has two texts, {tmp_path}/a/one.txt and {tmp_path}/b/one.txt"
    assert caught.value.faults == [("one", texts)]


@pytest.mark.parametrize("make", [table_corpus, ljspeech_corpus])
def test_corrections_of_unknown_utterances_are_reported(tmp_path, make):
    config = make(tmp_path)
    build_corpus(config)
    with pytest.raises(RecipeError, match="corpus.corrections names .* not there: tow"):
        build_corpus(changed(config, corrections={"tow": "It rains.", "one": "Hello."}))
    assert is_finished(config.paths.corpus)
    build_corpus(changed(config, corrections={"two": "It rains."}, only=["one"]))
    build_corpus(changed(config, corrections={"two": "It rains."}))
    texts = {u.id: u.text for u in read_metadata(f"{config.paths.corpus}/metadata.csv")}
    assert texts["two"] == "It rains."
