"""`make check` at LJSpeech's size. It writes 5 GB of files, and removes them."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
from conftest import PROJECT, run_script
from planted import assert_all_found, plant_all

from pipeline.files import read_csv

CLIPS = 13_100
SECONDS = 60


@pytest.fixture(scope="module")
def large(prepared, tmp_path_factory) -> list[str]:
    """The overrides of a corpus as large as LJSpeech that has been through stages 1 and 2."""
    data = Path(prepared[0].removeprefix("paths.data="))
    folder = tmp_path_factory.mktemp("large")
    sources = [str(data / "corpus"), str(data / "alignments" / "textgrid")]
    script = [
        sys.executable,
        "scripts/bench/make_large_corpus.py",
        *sources,
        str(folder),
        str(CLIPS),
    ]
    subprocess.run(script, cwd=PROJECT, check=True)
    overrides = ["recipe=ljspeech", f"paths.data={folder}/data"]
    overrides += [f"corpus.source.folder={folder}/LJSpeech-1.1"]
    overrides += [f"aligner.source={folder}/TextGrid"]
    for stage in ("stage1_download", "stage2_align"):
        done = run_script(stage, *overrides)
        assert done.returncode == 0, done.stderr
    yield overrides
    shutil.rmtree(folder)


@pytest.mark.slow
def test_all_faults_among_13100_clips_are_named_within_a_minute(large):
    data = Path(large[1].removeprefix("paths.data="))
    corpus, grids = data / "corpus", data / "alignments" / "textgrid" / "TextGrid"
    wavs = sorted((corpus / "wavs").iterdir())
    # Long enough to hold a long pause, and within check.seconds when doubled.
    ids = [wav.stem for wav in wavs[::25] if 4 < soundfile.info(wav).duration < 5]
    planted = plant_all(corpus, grids, ids)
    begun = time.monotonic()
    done = run_script("check", *large)
    seconds = time.monotonic() - begun
    print(f"{len(planted)} faults among {CLIPS} clips: {seconds:.1f} s\n{done.stdout}")
    assert done.returncode == 1 and f"{CLIPS} utterances" in done.stdout, done.stdout
    faults = read_csv(data / "faults.csv")
    own = {row["id"] for row in read_csv(grids.parent / "unaligned.csv")}
    found = {(fault["kind"], fault["id"]) for fault in faults if fault["id"] not in own}
    assert not own & set(planted.values())
    assert_all_found(planted, found)
    assert seconds <= SECONDS
