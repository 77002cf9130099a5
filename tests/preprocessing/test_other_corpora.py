"""A corpus in another layout and language needs only configuration to pass stages 1 to 3."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import tgt
from conftest import changed, run_script
from omegaconf import OmegaConf

from pipeline.errors import FaultsError, RecipeError
from preprocessing.alignment.textgrid import read_textgrid
from preprocessing.corpus.metadata import read_metadata
from preprocessing.corpus.readers import read_folders, read_table
from preprocessing.features.store import FeatureStore
from preprocessing.settings import FolderSource, LanguageSettings, TableSource
from preprocessing.text.language import corpus_language
from preprocessing.text.pronouncer import Pronouncer

UTTERANCES = 24
CORPUS = """
name: mine
layout: folders
only: null
source: {{folder: {folder}, recordings: "audio/p1/{{id}}_mic1.flac", texts: "txt/p1/{{id}}.txt"}}
language: {{normaliser: builtins.str, lexicon: {folder}/lexicon.txt, phones: null}}
screening: {{lowest_rms: 0.001, characters_per_second: [0.5, 40], phone_seconds: [0.03, 0.6],
  short_phones: 0.4, sound_outside: 10}}
corrections: {{}}
max_seconds: null
"""
RECIPE = """
# @package _global_
defaults:
  - override /corpus: mine
  - override /splits: seed
  - override /aligner: textgrid
recipe: {name: mine, folder: recipes/mine, scoring_batches: 5, first_switch: 0.1}
check: {leave_out: [], seconds: [0.3, 90], longest_pause: 2}
"""


def spelt_with_enye(word: str) -> str:
    """Spell a word in a made-up language that writes ñ for n."""
    return word.replace("n", "ñ")


@pytest.fixture(scope="module")
def mine(prepared, tmp_path_factory) -> Path:
    """Prompts in VCTK's layout, 48 kHz stereo, with their own spelling and their own phones."""
    data = Path(prepared[0].removeprefix("paths.data="))
    store = FeatureStore(data / "features" / "hifigan_22k")
    whole = set(store.ids) & set(store.utterances)
    folder = tmp_path_factory.mktemp("mine")
    for name in ("audio/p1", "txt/p1", "TextGrid", "conf/corpus", "conf/recipe"):
        (folder / name).mkdir(parents=True)
    lexicon, grids = set(), data / "alignments" / "textgrid" / "TextGrid"
    utterances = [u for u in read_metadata(data / "corpus" / "metadata.csv") if u.id in whole]
    for utterance in utterances[:UTTERANCES]:
        waveform, rate = soundfile.read(data / "corpus" / "wavs" / f"{utterance.id}.wav")
        stereo = np.stack([soxr.resample(waveform, rate, 48000)] * 2, 1)
        soundfile.write(folder / "audio" / "p1" / f"{utterance.id}_mic1.flac", stereo, 48000)
        grid = tgt.io.read_textgrid(
            str(grids / f"{utterance.id}.TextGrid"), include_empty_intervals=True
        )
        alignment = read_textgrid(grids / f"{utterance.id}.TextGrid")
        words = [spelt_with_enye(f"w{word.label.strip('{}').lower()}x") for word in alignment.words]
        words = ["".join(filter(str.isalpha, word)) for word in words]
        for word, spelt in zip(alignment.words, words, strict=True):
            inside = [
                f"{phone.label.lower()}ː"
                for phone in alignment.phones
                if word.start - 1e-3 <= phone.start < word.end - 1e-3 and phone.label != "sp"
            ]
            lexicon.add(" ".join([spelt, *inside]))
        spelt = iter(words)
        for tier in grid.tiers:
            for interval in tier:
                if interval.text not in ("", "sil", "sp", "spn"):
                    interval.text = (
                        next(spelt) if tier.name == "words" else f"{interval.text.lower()}ː"
                    )
        tgt.write_to_file(grid, str(folder / "TextGrid" / f"{utterance.id}.TextGrid"), "long")
        (folder / "txt" / "p1" / f"{utterance.id}.txt").write_text(" ".join(words) + ".\n")
    (folder / "lexicon.txt").write_text("\n".join(sorted(lexicon)), "utf-8")
    (folder / "conf" / "corpus" / "mine.yaml").write_text(CORPUS.format(folder=folder))
    (folder / "conf" / "recipe" / "mine.yaml").write_text(RECIPE)
    return folder


def test_a_corpus_of_another_language_needs_only_configuration(mine, prepared):
    overrides = ["recipe=mine", f"hydra.searchpath=[file://{mine}/conf]"]
    overrides += [f"paths.data={mine}/data", f"aligner.source={mine}/TextGrid"]
    overrides += ["splits.test=3", "splits.validation=2"]
    for stage in ("stage1_download", "stage2_align", "check", "stage3_features"):
        done = run_script(stage, *overrides)
        assert done.returncode == 0, done.stdout + done.stderr
    ours = FeatureStore(mine / "data" / "features" / "hifigan_22k")
    theirs = FeatureStore(
        Path(prepared[0].removeprefix("paths.data=")) / "features" / "hifigan_22k"
    )
    assert len(ours) == UTTERANCES and len(ours.split("test")) == 3
    for i, id in enumerate(ours.ids):
        one, same = ours.segment(i), theirs.segment(theirs.ids.index(id))
        np.testing.assert_array_equal(one.durations, same.durations)
        phones = [ours.symbols[phone] for phone in one.phones]
        expected = [theirs.symbols[phone] for phone in same.phones]
        assert phones == [p if p == "sp" else f"{p.lower()}ː" for p in expected]
        assert np.abs(one.mel - same.mel).mean() < 0.1, "resampling twice makes a difference"


def settings(mine: Path, **changes):
    """Return the corpus's configuration with changes in its section `language`."""
    config = OmegaConf.load(mine / "conf" / "corpus" / "mine.yaml")
    return LanguageSettings(**{**config.language, **changes})


def test_only_the_lexicon_pronounces_texts(mine):
    lines = (mine / "lexicon.txt").read_text("utf-8").splitlines()
    word, *phones = lines[0].split()
    pronouncer = Pronouncer(language=corpus_language(settings(mine)))
    assert pronouncer.phones(f"{word.upper()}, {word}!") == [*phones, "sp", *phones]
    with pytest.raises(RecipeError, match="the word 'hello' is not in .*lexicon.txt"):
        pronouncer.phones("Hello")
    with pytest.raises(RecipeError, match="is empty"):
        pronouncer.phones("...")


def test_faults_of_a_language_are_reported(mine, tmp_path):
    with pytest.raises(RecipeError, match="lexicon=/absent does not exist"):
        corpus_language(settings(mine, lexicon="/absent"))
    with pytest.raises(RecipeError, match="cannot import corpus.language.normaliser=no.such"):
        corpus_language(settings(mine, normaliser="no.such"))
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("one w ʌ n\ntwo t uː\nthree\nfour f sil\n", "utf-8")
    with pytest.raises(FaultsError) as caught:
        corpus_language(settings(mine, lexicon=str(lexicon), phones=["w", "ʌ", "n", "t", "f"]))
    assert caught.value.faults == [
        ("line 2, two", "has uː, not in corpus.language.phones"),
        ("line 3, three", "has no phone"),
        ("line 4, four", "has sil, meaning silence or an unknown word"),
    ]


def test_a_table_and_its_faults(tmp_path):
    tone = np.sin(np.arange(8000) / 5)
    for name in ("one.wav", "two.ogg", "other/one.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, tone, 16000)
    table = tmp_path / "list.csv"
    source = {"table": str(table), "delimiter": ";", "path": "file", "text": "said"}
    source = TableSource(**source, folder=str(tmp_path))
    with table.open("w", newline="") as file:
        rows = [["said", "file"], ["Eins; zwei.", "one.wav"], ['"Drei"', "two.ogg"]]
        csv.writer(file, delimiter=";").writerows(rows)
    assert [(r.id, r.text) for r in read_table(source)] == [
        ("one", "Eins; zwei."),
        ("two", '"Drei"'),
    ]
    with table.open("a") as file:
        file.write("x;other/one.flac\n;gone.wav\n")
    with pytest.raises(FaultsError) as caught:
        read_table(source)
    assert [reason for _, reason in caught.value.faults] == [
        "names 2 recordings", "does not exist", "has no text"
    ]  # fmt: skip
    source.text = "spoken"
    with pytest.raises(RecipeError, match="has no row with spoken"):
        read_table(source)
    table.write_text("file;spoken;spoken\none.wav;One.;one\n")
    with pytest.raises(RecipeError, match="has several columns named spoken"):
        read_table(source)
    table.write_bytes("file;spoken\none.wav;Fünf\n".encode("latin1"))
    with pytest.raises(RecipeError, match="line 2 of .*list.csv is not UTF-8"):
        read_table(source)


def test_libritts_like_folders_and_their_faults(mine, tmp_path):
    recording = next((mine / "audio" / "p1").iterdir())
    for chapter in ("1", "2"):
        (tmp_path / "84" / chapter).mkdir(parents=True)
        shutil.copyfile(recording, tmp_path / "84" / chapter / f"84_{chapter}_0.flac")
        (tmp_path / "84" / chapter / f"84_{chapter}_0.normalized.txt").write_text("Text.\n")
    source = FolderSource(
        folder=str(tmp_path), recordings="84/*/{id}.flac", texts="84/*/{id}.normalized.txt"
    )
    assert [(r.id, r.text) for r in read_folders(source)] == [
        ("84_1_0", "Text."),
        ("84_2_0", "Text."),
    ]
    text = tmp_path / "84" / "1" / "84_1_0.normalized.txt"
    text.write_bytes("Fünf.".encode("latin1"))
    with pytest.raises(RecipeError, match="84_1_0.normalized.txt: is not UTF-8"):
        read_folders(source)
    text.write_bytes(b"Text.")
    (tmp_path / "84" / "1" / "84_1_0.flac").unlink()
    (tmp_path / "84" / "2" / "84_2_0.normalized.txt").unlink()
    with pytest.raises(FaultsError) as caught:
        read_folders(source)
    reasons = [reason for _, reason in caught.value.faults]
    assert reasons == ["has no recording", "has no text"]
    with pytest.raises(RecipeError, match="has no {id}"):
        read_folders(changed(source, texts="84/*/*.txt"))
    with pytest.raises(RecipeError, match="matches no file"):
        read_folders(changed(source, texts="85/*/{id}.txt"))
