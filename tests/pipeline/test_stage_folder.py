"""The state of a stage's folder, and files that appear completely or not at all."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import changed, composed

from pipeline.digests import fingerprint
from pipeline.errors import FaultsError, RecipeError
from pipeline.files import atomic_path, read_utf8
from pipeline.stage_folder import StageFolder
from pipeline.stages import ALIGNMENTS, CORPUS, FEATURES
from preprocessing.corpus.metadata import read_reasons, write_reasons


def test_a_stage_is_complete_only_when_finished_under_the_same_fingerprint(tmp_path):
    stage = StageFolder(tmp_path / "stage", "one")
    assert not stage.is_complete()
    assert not stage.begin()
    (tmp_path / "stage" / "result").write_text("half")
    assert not stage.is_complete()
    assert stage.begin(), "unfinished work is continued"
    stage.finish()
    assert StageFolder(tmp_path / "stage", "one").is_complete()
    other = StageFolder(tmp_path / "stage", "two")
    assert not other.is_complete()
    assert not other.begin()
    assert [path.name for path in (tmp_path / "stage").iterdir()] == ["stage.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".stage.lock", "stage"]


def test_a_file_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_bytes("\ufeffüber y b ɐ\n".encode())
    assert read_utf8(path) == "über y b ɐ\n"
    path.write_bytes("eins a\nüber b\n".encode("latin1"))
    with pytest.raises(RecipeError, match="line 2 of .*lexicon.txt is not UTF-8: convert it"):
        read_utf8(path)
    language = {"normaliser": None, "lexicon": str(path)}
    with pytest.raises(RecipeError, match="lexicon.txt is not UTF-8"):
        CORPUS.fingerprint(changed(composed(), corpus__language=language))


def test_foreign_files_are_not_emptied(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RecipeError, match="files that this recipe did not write .thesis.txt"):
        StageFolder(tmp_path, "one").begin()
    assert (tmp_path / "thesis.txt").exists()


def test_files_appear_whole_or_not_at_all(tmp_path):
    with pytest.raises(ValueError), atomic_path(tmp_path / "a.csv") as temporary:
        temporary.write_text("half")
        raise ValueError
    assert list(tmp_path.iterdir()) == []
    killed = (
        "import os, signal, sys; from pipeline.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as path:\n"
        "    path.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    folder = tmp_path / "stage"
    StageFolder(folder, "one").begin()
    subprocess.run([sys.executable, "-c", killed, folder / "a.csv"])
    (leftover,) = folder.glob(".*partial*")
    with atomic_path(folder / "b.csv") as mine:
        mine.write_text("still being written")
        StageFolder(folder, "one").begin()
        assert not leftover.exists() and mine.exists()
    assert not (folder / "a.csv").exists() and (folder / "b.csv").exists()


def test_one_process_at_a_time_works_on_a_folder(tmp_path):
    begin = (
        "import sys; from pipeline.stage_folder import StageFolder; "
        "stage = StageFolder(sys.argv[1], 'one'); stage.begin(); print('begun', flush=True); "
        "sys.stdin.read(); stage.finish()"
    )
    command = [sys.executable, "-c", begin, str(tmp_path / "stage")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    stage = StageFolder(tmp_path / "stage", "one")
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == "begun\n"
        with pytest.raises(RecipeError, match="another process is at work on .*stage"):
            stage.begin()
        other.kill()
    assert stage.begin() and StageFolder(tmp_path / "stage", "one").begin()
    stage.finish()
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == "begun\n"
        other.stdin.close()
    assert stage.is_complete() and stage.begin()


def test_a_folder_of_the_same_fingerprint_is_taken_over_whole(tmp_path):
    other = StageFolder(tmp_path / "a", "one")
    other.begin()
    (tmp_path / "a" / "deep").mkdir()
    (tmp_path / "a" / "deep" / "weights").write_text("1")
    other.finish()
    mine = StageFolder(tmp_path / "b", "one")
    mine.begin()
    (tmp_path / "b" / "deep").mkdir()
    (tmp_path / "b" / "deep" / "weights").write_text("half, left by a kill")
    mine.take_over(tmp_path / "a")
    assert mine.is_complete() and (tmp_path / "b" / "deep" / "weights").read_text() == "1"
    StageFolder(tmp_path / "b", "two").begin()
    assert other.is_complete() and (tmp_path / "a" / "deep" / "weights").read_text() == "1"
    assert not (tmp_path / "b" / "deep").exists()


def test_fingerprints_change_with_what_a_stage_depends_on(tmp_path):
    def fingerprints(*overrides: str, **changes) -> list[str]:
        config = changed(composed("aligner=textgrid", *overrides), **changes)
        return [stage.fingerprint(config) for stage in (CORPUS, ALIGNMENTS, FEATURES)]

    def outdated(*overrides: str) -> list[bool]:
        pairs = zip(fingerprints(), fingerprints(*overrides), strict=True)
        return [a != b for a, b in pairs]

    assert outdated() == [False, False, False]
    assert outdated("corpus.name=b") == [True, True, True]
    assert outdated("aligner=viter") == [False, True, True]
    assert outdated("features.f0.floor=80") == [False, False, True]
    assert outdated("splits.seed=1") == [False, False, True]
    assert outdated("check.seconds=[1,9]") == [False, False, True]
    assert outdated("check.leave_out=[wav_rate]") == [False, False, False]
    assert outdated("parallel.workers=1", "trainer.updates=3") == [False, False, False]
    grids = tmp_path / "grids"
    grids.mkdir()
    before = fingerprints(aligner__source=str(grids))
    (grids / "a.TextGrid").write_text("x")
    with_one = fingerprints(aligner__source=str(grids))
    assert with_one[1] != before[1]
    # The same files in another folder and with other times give the same fingerprint.
    shutil.copytree(grids, tmp_path / "copy", copy_function=shutil.copyfile)
    assert fingerprints(aligner__source=str(tmp_path / "copy")) == with_one
    (grids / "a.TextGrid").write_text("y")
    os.utime(grids / "a.TextGrid", ns=(1, 1))  # Linux < 6.13 may give both writes one time
    assert fingerprints(aligner__source=str(grids))[1] != with_one[1]
    (tmp_path / "list.csv").write_text("file,text")
    table = {"table": str(tmp_path / "list.csv"), "delimiter": ",", "path": "file", "text": "text"}
    table = {"corpus__layout": "table", "corpus__source": table | {"folder": str(tmp_path)}}
    before = fingerprints(**table)
    (tmp_path / "list.csv").write_text("file,words")
    assert fingerprints(**table)[0] != before[0]
    (tmp_path / "a.txt").write_text("a")
    files = {"folder": str(tmp_path), "texts": "{id}.txt", "recordings": "{id}.wav"}
    files = {"corpus__layout": "folders", "corpus__source": files}
    before = fingerprints(**files)
    (tmp_path / "b.txt").write_text("b")
    assert fingerprints(**files)[0] != before[0]
    assert fingerprint([1, 2]) != fingerprint([2, 1])


def test_an_error_shows_ten_faults_and_counts_all():
    error = FaultsError("reading", [(f"clip-{i}", "is bad") for i in range(13)], "Mend them.")
    lines = str(error).splitlines()
    assert lines[0] == "reading: 13 faults" and lines[-2:] == ["  ... and 3 more", "Mend them."]
    assert len(lines) == 13 and len(error.faults) == 13


def test_reasons_survive_commas_and_quotes(tmp_path):
    rows = [("a", 'its text, "beep", is not speech'), ("b", "two\nlines")]
    write_reasons(tmp_path / "reasons.csv", rows)
    assert read_reasons(tmp_path / "reasons.csv") == rows
    assert os.listdir(tmp_path) == ["reasons.csv"]


def test_files_that_another_users_process_writes_are_left(tmp_path):
    """Process 1 belongs to root. If root runs the test, a process of another user asks about it."""
    StageFolder(tmp_path / "stage", "one").begin()
    partial = tmp_path / "stage" / ".a.1.partial.csv"
    partial.write_text("perhaps still being written")
    begin = (
        "import os, sys; from pipeline.files import remove_partial_files\n"
        "from pathlib import Path\n"
        "os.chdir(sys.argv[1])  # that user may not read the folders above\n"
        "if os.getuid() == 0:\n"
        "    os.setuid(12345)\n"
        "remove_partial_files(Path())"
    )
    (tmp_path / "stage").chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-c", begin, tmp_path / "stage"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert partial.exists()
