"""Plans and clips of a listening test: only the sound may reveal a system."""

import json
import re
from collections import Counter

import numpy as np
import pyloudnorm
import pytest
import soundfile
from listening_cases import SENTENCES, make_run, plans_of
from scipy.stats import chisquare

from evaluation.listening.build import build_test, choose_runs
from evaluation.listening.design import PREFERENCE, RATING, make_plans
from evaluation.listening.loudness import match_loudness
from pipeline.errors import RecipeError

SYSTEMS = ["dense", "constant", "sniper"]


def test_bug_8_listening_test_sides_are_shuffled():
    """The test of SNIPER's published code had dense always first and SNIPER always last."""
    for seed in range(20):
        lefts, orders = Counter(), set()
        for plan in plans_of(SYSTEMS, seed):
            trials = [t for t in plan if t.kind == PREFERENCE and not t.is_check]
            lefts.update((tuple(sorted(t.systems)), t.systems[0]) for t in trials)
            # In each pair, a listener hears each system equally often on either side.
            for pair in {tuple(sorted(t.systems)) for t in trials}:
                of_pair = [t.systems[0] for t in trials if tuple(sorted(t.systems)) == pair]
                assert abs(of_pair.count(pair[0]) - of_pair.count(pair[1])) <= 1
            orders.add(tuple(t.sentence for t in plan))
        assert len(orders) == len(plans_of(SYSTEMS, seed))  # no two listeners have the same order
        for pair in {pair for pair, _ in lefts}:
            assert lefts[pair, pair[0]] == lefts[pair, pair[1]] > 0


def test_sides_and_positions_show_no_bias_over_seeds():
    """The first trial of a plan, which a listener hears most attentively, favours no system."""
    first_left, positions = Counter(), Counter()
    for seed in range(40):
        # Every second plan mirrors the one before.
        for plan in plans_of(["dense", "sniper"], seed)[::2]:
            trials = [t for t in plan if t.kind == PREFERENCE and not t.is_check]
            first_left[trials[0].systems[0]] += 1
            number = trials.index(next(t for t in trials if t.systems[0] == "sniper"))
            positions[min(number, 3)] += 1
    assert chisquare(list(first_left.values())).pvalue > 0.001
    # Sides are nearly independent, so sniper is first on the left in trial 0 in half of the plans,
    # in trial 1 in a quarter.
    assert 0.4 < positions[0] / sum(positions.values()) < 0.6
    assert 0.18 < positions[1] / sum(positions.values()) < 0.36


def test_every_pair_and_every_rating_meets_every_sentence_equally_often():
    plans = plans_of(SYSTEMS)
    assert len(plans) >= 48
    trials = [trial for plan in plans for trial in plan if not trial.is_check]
    preferences = Counter(
        (tuple(sorted(t.systems)), t.sentence) for t in trials if t.kind == PREFERENCE
    )
    ratings = Counter((t.systems, t.sentence) for t in trials if t.kind == RATING)
    assert len(preferences) == len(ratings) == 3 * len(SENTENCES)
    assert len(set(preferences.values())) == len(set(ratings.values())) == 1
    for plan in plans:
        kinds = Counter((trial.kind, trial.is_check) for trial in plan)
        assert kinds == {
            (PREFERENCE, False): 20,
            (RATING, False): 20,
            (PREFERENCE, True): 2,
            (RATING, True): 2,
        }
        blocks = [trial.kind for trial in plan]
        assert len([1 for a, b in zip(blocks, blocks[1:], strict=False) if a != b]) == 1


def test_few_listeners_hear_all_pairs_about_equally_often():
    plans = make_plans(["a", "b", "c", "d", "e"], SENTENCES[:5], seed=0)
    first = [t for plan in plans[:8] for t in plan if t.kind == PREFERENCE and not t.is_check]
    heard = Counter(tuple(sorted(trial.systems)) for trial in first)
    assert len(heard) == 10 and set(heard.values()) == {4}


def test_plans_depend_on_the_seed_alone():
    assert plans_of(SYSTEMS, 3) == plans_of(SYSTEMS, 3) != plans_of(SYSTEMS, 4)


@pytest.mark.parametrize("rate", [22_050, 48_000])
def test_loudness_is_matched_to_ebu_r128(rate):
    """pyloudnorm measures the test signal of BS.1770, a sine of 1 kHz, within its 0.1 LU."""
    times = np.arange(5 * rate) / rate
    sine = np.sin(2 * np.pi * 997 * times)
    assert pyloudnorm.Meter(rate).integrated_loudness(sine) == pytest.approx(-3.01, abs=0.1)
    clips = {"soft": 0.01 * sine, "loud": 0.9 * sine, "half": 0.5 * np.r_[sine, 0 * sine]}
    levels = {
        name: pyloudnorm.Meter(rate).integrated_loudness(clip)
        for name, clip in match_loudness(clips, rate).items()
    }
    assert all(level == pytest.approx(-23, abs=0.05) for level in levels.values())


def test_a_high_peak_makes_all_clips_softer_by_the_same_amount():
    rate, random = 22_050, np.random.default_rng(0)
    clicks = 1e-4 * random.normal(size=rate)
    clicks[:: rate // 4] = 1.0
    clips = match_loudness({"clicks": clicks, "noise": random.normal(0, 0.1, rate)}, rate)
    levels = [pyloudnorm.Meter(rate).integrated_loudness(clip) for clip in clips.values()]
    assert levels[0] == pytest.approx(levels[1], abs=0.01) and levels[0] < -23
    assert max(np.abs(clip).max() for clip in clips.values()) == pytest.approx(10 ** (-1 / 20))
    with pytest.raises(RecipeError, match="quiet: the clip is silent"):
        match_loudness({"quiet": np.zeros(rate)}, rate)
    with pytest.raises(RecipeError, match="tiny: the clip is shorter"):
        match_loudness({"tiny": np.ones(100)}, rate)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    names = ["sparsity=dense", "sparsity.start=0.4,sparsity=decaying"]
    return [make_run(folder / name, name.title(), seed) for seed, name in enumerate(names)]


def test_the_served_files_never_name_a_system(runs, tmp_path):
    build_test(runs, 6, 0, "", tmp_path)
    files = [path for path in (tmp_path / "test").rglob("*") if path.is_file()]
    text = " ".join(str(path.relative_to(tmp_path)) for path in files)
    text += "".join(path.read_text() for path in files if path.suffix != ".wav")
    for word in ("dense", "decaying", "sniper", "sparsity", "natural recordings", "s0", "s1"):
        assert word not in re.sub(r"\bs[01]\b", "", text.lower()), word
    for path in files:
        if path.suffix == ".wav":
            assert b"LIST" not in path.read_bytes()[:200]  # no title or comment
    page = (tmp_path / "test" / "index.html").read_text()
    test = json.loads(re.search(r'id="test">(.*?)</script>', page)[1])
    for plan in test["plans"]:
        for trial in plan:
            for clip in trial["clips"]:
                assert (tmp_path / "test" / clip).exists()
    # For each sentence a clip of each system, and the clean and corrupted ones of checks.
    assert len(list((tmp_path / "test" / "clips").iterdir())) == 6 * 4


def test_building_again_gives_the_same_test_and_never_loses_the_key_of_answers(runs, tmp_path):
    first = build_test(runs, 6, 0, "", tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    assert build_test(runs, 6, 0, "", tmp_path) == first
    assert {path: path.read_bytes() for path in files} == before
    (tmp_path / "answers.jsonl").write_text("")
    build_test(runs, 6, 0, "", tmp_path)
    with pytest.raises(RecipeError, match="holds answers to another test"):
        build_test(runs, 6, 1, "", tmp_path)
    assert {path: path.read_bytes() for path in files} == before


def test_building_another_test_keeps_the_previous_key(runs, tmp_path):
    first = build_test(runs, 6, 0, "", tmp_path)
    key = (tmp_path / "key.json").read_bytes()
    (tmp_path / ".test.new").mkdir()  # left by a killed process
    second = build_test(runs, 6, 1, "", tmp_path)
    assert (tmp_path / f"key.{first}.json").read_bytes() == key
    assert json.loads((tmp_path / "key.json").read_text())["test"] == second
    assert second in (tmp_path / "test" / "index.html").read_text()
    assert not (tmp_path / ".test.new").exists()


def test_systems_with_the_same_label_get_distinct_labels(tmp_path):
    names = ["sparsity=dense", "seed=1,sparsity=dense", "sparsity=dense,vocoder=griffin_lim"]
    runs = [make_run(tmp_path / name, "Dense", 0) for name in names]
    runs[1].metrics["training"]["seed"] = 1
    chosen = choose_runs(runs, [])
    assert [run.folder.name for run in chosen] == [names[0], names[2]]
    assert [run.label for run in chosen] == ["Dense (default)", "Dense (vocoder=griffin_lim)"]
    assert [run.label for run in choose_runs(runs[:2], names[:2])] == [
        "Dense, seed 0",
        "Dense, seed 1",
    ]


def test_clips_of_a_test_are_equally_loud(runs, tmp_path):
    build_test(runs, 5, 0, "", tmp_path)
    levels = []
    for path in (tmp_path / "test" / "clips").iterdir():
        waveform, rate = soundfile.read(path)
        levels.append(pyloudnorm.Meter(rate).integrated_loudness(waveform))
    assert np.ptp(levels) < 0.1


def test_errors_say_why_a_test_cannot_be_built(runs, tmp_path):
    with pytest.raises(RecipeError, match="have 20 sentences in common: .* from 1 to 20, not 21"):
        build_test(runs, 21, 0, "", tmp_path)
    with pytest.raises(RecipeError, match="no finished run is called nobody, only"):
        choose_runs(runs, ["nobody"])
    with pytest.raises(RecipeError, match="needs at least two runs"):
        choose_runs(runs, ["sparsity=dense"])
    assert choose_runs(runs, []) == runs
