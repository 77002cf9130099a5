"""The definitions of measures: values by hand, and those of the committed records."""

import math

import pytest
from conftest import PROJECT, composed

from evaluation.metrics.evaluate import definitions
from evaluation.metrics.measures import MEASURES, SENTENCE_MEANS
from pipeline.files import read_csv, read_json

MEASURE = {measure.name: measure for measure in (*MEASURES, *SENTENCE_MEANS)}
RECORDS = sorted((PROJECT / "recipes" / "allison" / "results" / "paper" / "runs").iterdir())


def rows(*sentences: dict, set="heldout") -> list[dict]:
    return [{"set": set, "id": f"s{number}"} | each for number, each in enumerate(sentences)]


def test_error_rates_pool_all_words_and_sentence_means_do_not():
    sentences = rows({"word_errors": 1, "words": 1}, {"word_errors": 0, "words": 9})
    assert MEASURE["wer_heldout"].value(sentences) == 0.1
    assert MEASURE["wer_heldout_mean_of_sentences"].value(sentences) == 0.5
    assert MEASURE["wer_other"].value(sentences) is None


def test_sentences_without_words_count_nowhere():
    sentences = rows({"word_errors": 0, "words": 0}, {"word_errors": 1, "words": 2})
    assert MEASURE["wer_heldout"].value(sentences) == 0.5
    assert MEASURE["wer_heldout_mean_of_sentences"].value(sentences) == 0.5
    assert MEASURE["wer_heldout"].value(sentences[:1]) is None


def test_roots_are_taken_of_pooled_squares_and_empty_cells_are_skipped():
    sentences = rows(
        {"f0_squared_error": 3.0, "f0_frames": 4},
        {"f0_squared_error": 1.0, "f0_frames": 12},
        {"f0_squared_error": "", "f0_frames": ""},
        {"mos": 3.0},
    )
    assert MEASURE["log_f0_rmse"].value(sentences) == math.sqrt(4 / 16)
    assert MEASURE["mos_heldout"].value(sentences) == 3.0


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name[:40])
def test_committed_metrics_follow_exactly_from_their_sentences(record):
    sentences = read_csv(record / "evaluation" / "utterances.csv")
    committed = read_json(record / "evaluation" / "metrics.json")["measures"]
    known = [measure for measure in MEASURES if measure.name in committed]  # some may be newer
    assert {measure.name: measure.value(sentences) for measure in known} == committed
    assert list(committed) == [measure.name for measure in known]


def test_every_measure_is_defined_in_the_words_of_its_settings():
    texts = definitions(composed("evaluation.silence=0.5", "features.f0.method=harvest"))
    assert "whisper_tiny, beam 5, 0.5 s" in texts["wer_heldout"]
    assert "harvest" in texts["log_f0_rmse"]
    assert all(texts[measure.name] and "{" not in texts[measure.name] for measure in MEASURES)
