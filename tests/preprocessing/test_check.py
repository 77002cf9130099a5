"""The pre-flight check reports a fault of each kind that is planted in a real corpus."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import PROJECT, changed, composed, run_script
from planted import assert_all_found, plant_all

from evaluation.settings import Settings
from pipeline.errors import RecipeError
from pipeline.files import read_csv
from preprocessing.alignment import parsed
from preprocessing.check import check_corpus
from preprocessing.corpus.metadata import Utterance, read_metadata, write_metadata
from preprocessing.faults import KINDS, Fault, print_faults, refuse


@pytest.fixture(scope="module")
def prompts(prepared) -> tuple[Path, list[Utterance]]:
    """The folder of the data, and prompts of a few words that have no fault."""
    data = Path(prepared[0].removeprefix("paths.data="))
    faulty = {row["id"] for row in read_csv(data / "features" / "hifigan_22k" / "dropped.csv")}
    utterances = [
        utterance
        for utterance in read_metadata(data / "corpus" / "metadata.csv")
        if 5 <= len(utterance.text.split()) <= 12 and utterance.id not in faulty
    ]
    return data, sorted(utterances, key=lambda utterance: -len(utterance.text))[:40]


@pytest.fixture
def copy(prompts, tmp_path) -> Settings:
    """The configuration of a copy of these prompts, for faults to be planted in."""
    data, utterances = prompts
    (tmp_path / "corpus" / "wavs").mkdir(parents=True)
    (tmp_path / "alignments" / "textgrid" / "TextGrid").mkdir(parents=True)
    parts = ["alignments/textgrid/textgrids.jsonl"]
    parts += [f"corpus/wavs/{utterance.id}.wav" for utterance in utterances]
    parts += [f"alignments/textgrid/TextGrid/{each.id}.TextGrid" for each in utterances]
    for part in parts:
        shutil.copy2(data / part, tmp_path / part)  # with its time, by which TextGrids are known
    write_metadata(tmp_path / "corpus" / "metadata.csv", utterances)
    overrides = [f"paths.data={tmp_path}", "aligner=textgrid", "parallel.workers=1"]
    return composed(*overrides, "splits.test=4", "splits.validation=2")


def test_a_sound_corpus_has_no_fault_and_its_textgrids_are_not_parsed_again(copy, monkeypatch):
    monkeypatch.setattr(parsed, "parse_textgrid", lambda path: pytest.fail(f"{path} is parsed"))
    utterances, faults = check_corpus(copy)
    assert len(utterances) == 40 and faults == []


def test_a_fault_of_each_kind_is_reported(copy, prompts):
    grids = Path(copy.paths.alignments) / "TextGrid"
    ids = [utterance.id for utterance in prompts[1]]
    planted = plant_all(Path(copy.paths.corpus), grids, ids)
    assert planted.keys() == KINDS.keys() - {"unaligned", "features"}
    utterances, faults = check_corpus(copy)
    assert_all_found(planted, {(fault.kind, fault.id) for fault in faults})
    assert len(utterances) == 40 and len(faults) == len(planted)


def test_faults_of_a_dictionary_are_reported_by_line(copy, tmp_path):
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("the DH AH0\npound\nkey K silence\nkey sil\n")
    settings = {"normaliser": None, "lexicon": str(lexicon), "phones": ["DH", "AH0", "K"]}
    copy = changed(copy, corpus__language=settings)
    with pytest.raises(RecipeError) as fault:
        check_corpus(copy)
    for line in ("line 2, pound", "line 3, key", "line 4, key"):
        assert line in str(fault.value)


def test_check_lists_all_faults_and_fails(copy, prompts):
    ids = [utterance.id for utterance in prompts[1][:13]]
    for id in ids[:12]:
        (Path(copy.paths.corpus) / "wavs" / f"{id}.wav").unlink()
    (Path(copy.paths.alignments) / "TextGrid" / f"{ids[12]}.TextGrid").unlink()
    overrides = [f"paths.data={copy.paths.data}", "aligner=textgrid"]
    done = run_script("check", *overrides)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "wav_missing: 12" in done.stdout and "textgrid_missing: 1" in done.stdout
    assert ids[9] in done.stdout and ids[10] not in done.stdout, "the first ten of each"
    assert "13 faults" in done.stderr
    assert "check.leave_out=[sound_outside,textgrid_missing,wav_missing]" in done.stderr
    table = [(row["id"], row["kind"]) for row in read_csv(Path(copy.paths.data) / "faults.csv")]
    kinds = ["wav_missing"] * 12 + ["textgrid_missing"]
    assert sorted(table) == sorted(zip(ids, kinds, strict=True))
    left_out = "check.leave_out=[wav_missing,textgrid_missing]"
    assert run_script("check", *overrides, left_out).returncode == 0


def test_features_and_training_leave_out_only_what_they_are_told_to(copy, prompts, capsys):
    from fastspeech2.training.train import check_left_out
    from preprocessing.features.build import build_features
    from preprocessing.features.store import FeatureStore

    first, second, third = (utterance.id for utterance in prompts[1][:3])
    for id in (first, second):
        (Path(copy.paths.alignments) / "TextGrid" / f"{id}.TextGrid").unlink()
    wav = Path(copy.paths.corpus) / "wavs" / f"{third}.wav"
    white = np.random.default_rng(0).normal(size=soundfile.info(wav).frames + 4)
    hiss = np.diff(white, 4)  # high frequencies only, so that it has no F0
    soundfile.write(wav, 0.1 * hiss / hiss.std(), 22050)
    copy.corpus.screening.sound_outside = 10
    with pytest.raises(RecipeError, match="2 textgrid_missing, such as"):
        build_features(copy)
    assert not Path(copy.paths.features).exists()
    copy.check.leave_out = ["textgrid_missing"]
    with pytest.raises(RecipeError, match="1 features, such as .*: has no voiced frame"):
        build_features(copy)
    copy.check.leave_out = ["textgrid_missing", "features"]
    build_features(copy)
    assert "37 utterances" in capsys.readouterr().out
    store = FeatureStore(copy.paths.features)
    assert store.left_out == {"textgrid_missing": 2, "features": 1}
    assert not {first, second, third} & set(store.utterances)
    with pytest.raises(RecipeError, match=r"check.leave_out=\[features,textgrid_missing\]"):
        check_left_out(store, ["features"])
    check_left_out(store, ["features", "textgrid_missing"])
    assert "3 faulty utterances are left out: 1 features, 2 textgrid_missing" in (
        capsys.readouterr().out
    )


def test_the_large_corpus_passes_and_is_the_same_each_time(prompts, tmp_path):
    """A small one, made like the corpus of the full-size measurements."""
    corpus, alignments = prompts[0] / "corpus", prompts[0] / "alignments" / "textgrid"
    for folder in ("one", "other"):
        arguments = [str(corpus), str(alignments), str(tmp_path / folder), "12"]
        script = [sys.executable, "scripts/bench/make_large_corpus.py", *arguments]
        subprocess.run(script, cwd=PROJECT, check=True)
    made = sorted(path for path in (tmp_path / "one").rglob("*.*") if path.is_file())
    assert len(made) == 12 + 12 + 1
    for path in made:
        other = tmp_path / "other" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes(), path

    overrides = ["recipe=ljspeech", f"paths.data={tmp_path}/data", "corpus.source.clips=12"]
    overrides += [f"corpus.source.folder={tmp_path}/one/LJSpeech-1.1"]
    overrides += [f"aligner.source={tmp_path}/one/TextGrid"]
    for stage in ("stage1_download", "stage2_align", "check"):
        done = run_script(stage, *overrides)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "12 utterances, 0 of them with 0 faults" in done.stdout


def test_unknown_words_are_tolerated_unless_they_are_to_be_left_out(capsys):
    faults = [Fault("a", "words_unknown", "has words"), Fault("b", "wav_rate", "is slow")]
    assert refuse(faults, ["wav_rate"]) == {"wav_rate": 1}
    assert refuse(faults, ["wav_rate", "words_unknown"]) == {"wav_rate": 1, "words_unknown": 1}
    print_faults(3, faults, ["wav_rate"])
    printed = capsys.readouterr().out
    assert "tolerated" in printed and "3 utterances, 1 of them with 1 faults" in printed


def test_an_unknown_kind_is_reported():
    with pytest.raises(RecipeError, match="leave_out.*=wav_rates: choose one of .* mean wav_rate?"):
        composed("check.leave_out=[wav_rates]")
