"""The lists of `make scp` name the wavs of a run and of the recordings."""

import json

import pytest
import soundfile
from conftest import composed

from audio.wav import write_wav
from evaluation.metrics.scp import write_scp
from pipeline.errors import RecipeError
from pipeline.files import write_csv
from preprocessing.features.store import FeatureStore, natural_waveform
from speech.synthesis import MANIFEST


def test_lists_have_the_same_keys_and_files_that_exist(prepared, tmp_path):
    config = composed(*prepared, f"paths.run={tmp_path}")
    store, rows = FeatureStore(config.paths.features), []
    for i in store.split("test")[:3]:
        segment = store.segment(i)
        write_wav(
            tmp_path / f"synthesis/heldout/{segment.id}.wav", natural_waveform(segment)[:5000]
        )
        rows.append(["heldout", segment.id, segment.text, f"heldout/{segment.id}.wav", 1, int(i)])
    write_wav(tmp_path / "synthesis/other/sentence-01.wav", natural_waveform(segment)[:5000])
    rows.append(["other", "sentence-01", "Hello, world.", "other/sentence-01.wav", 1, None])
    synthesis = tmp_path / "synthesis"
    with pytest.raises(RecipeError, match="is not synthesised"):
        write_scp(config)
    (synthesis / "stage.json").write_text(json.dumps({"fingerprint": "", "complete": True}))
    write_csv(synthesis / "manifest.csv", MANIFEST, [dict(zip(MANIFEST, row)) for row in rows])  # noqa: B905
    write_scp(config)

    def read(name: str) -> dict[str, str]:
        lines = (tmp_path / "scp" / name).read_text("utf-8").splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    spoken, texts, recorded = (read(f"heldout/{n}") for n in ("wav.scp", "text", "reference.scp"))
    assert list(spoken) == list(texts) == list(recorded) == sorted(row[1] for row in rows[:3])
    for row in rows[:3]:
        assert texts[row[1]] == row[2] and soundfile.info(spoken[row[1]]).frames == 5000
        assert soundfile.info(recorded[row[1]]).frames == store.segment(row[5]).samples
    assert read("other/text") == {"sentence-01": "Hello, world."}
    assert not (tmp_path / "scp" / "other" / "reference.scp").exists()
