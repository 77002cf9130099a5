"""The paper's schedules, and others that follow the same rule."""

import pytest
from conftest import composed, section
from torch import nn

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.settings import ModelSettings
from fastspeech2.training.sparsity import (
    decaying_levels,
    mask_settings,
    require_reachable,
    sparsity_schedule,
)
from pipeline.configuration import cap_for
from pipeline.errors import RecipeError
from sniper import SET, RigL
from sniper.masks import check_reachable


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (0.2, {0: 0.2, 500: 0.1, 1000: 0.0}),
        (0.4, {0: 0.4, 500: 0.2, 1000: 0.1, 2000: 0.0}),
        (0.6, {0: 0.6, 500: 0.3, 1000: 0.15, 2000: 0.0}),
        (0.8, {0: 0.8, 500: 0.4, 1000: 0.2, 2000: 0.1, 4000: 0.0}),
    ],
)
def test_schedules_at_the_papers_length(start, expected):
    assert decaying_levels(start, updates=40_000) == pytest.approx(expected)


def test_schedules_scale_with_training():
    assert decaying_levels(0.4, updates=800) == pytest.approx({0: 0.4, 10: 0.2, 20: 0.1, 40: 0})


def test_schedule_kinds():
    def schedule(kind, *overrides):
        config = composed("recipe=ljspeech", f"sparsity={kind}", *overrides).sparsity
        return sparsity_schedule(config, updates=40_000)

    constant = schedule("constant")
    assert [constant(update) for update in (0, 39_999)] == [0.4, 0.4]
    decaying = schedule("decaying")
    assert [decaying(update) for update in (0, 499, 500, 2000)] == [0.4, 0.4, 0.2, 0.0]
    assert schedule("dense")(0) == 0.0


def test_strategies_patterns_groups_and_controls_are_settings():
    def settings(*overrides):
        config = composed("recipe=ljspeech", *overrides).sparsity
        return mask_settings(config, updates=40_000, seed=3)

    assert settings("sparsity=rigl")["strategy"] == RigL(every=100, until=30_000, drop=0.3)
    assert settings("sparsity=set", "sparsity.move_every=50")["strategy"] == SET(50, 30_000, seed=3)
    assert settings("sparsity=rigl")["regrowth"] == "zero"
    found = settings(
        "sparsity=decaying", "sparsity.pruned=frozen", "sparsity.shuffle=true",
        "sparsity.return_order=highest_last", "sparsity.min_density=0.1",
    )  # fmt: skip
    assert (found["pruned"], found["shuffle_seed"]) == ("frozen", 3)
    assert (found["return_order"], found["min_density"]) == ("highest_last", 0.1)
    assert settings("sparsity=constant", "sparsity.pattern=2:4")["pattern"] == "2:4"
    group = "{parameters: 'encoder.*', kind: constant, start: 0.8, cap: 0.9}"
    group = settings("sparsity=decaying", f"sparsity.groups=[{group}]")["groups"]
    assert group["model.encoder.*"]["schedule"](39_999) == 0.8
    assert group["model.encoder.*"]["cap"] == 0.9
    assert group["model.encoder.*"]["regrowth"] == "init"
    config = composed("recipe=ljspeech", "sparsity=alternating").sparsity
    schedule = sparsity_schedule(config, updates=40_000)
    assert [schedule(u) for u in (0, 1_999, 2_000, 4_000, 6_000, 39_999)] == [
        0,
        0,
        0.4,
        0,
        0.4,
        0.4,
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sparsity=constant", "sparsity.pattern=2/4"], "pattern is like '2:4'"),
        (["sparsity=constant", "sparsity.pattern=2:4"], "highest sparsity of 0.5"),
        (["sparsity=decaying", "sparsity.strategy=set"], "SET moves masks under a sparsity that"),
        (["sparsity=constant", "sparsity.return_order=highest_last"], "a schedule that falls"),
        (["sparsity=constant", "sparsity.start=0.5", "sparsity.pattern=128x1"], "does not divide"),
        (["sparsity=rigl", "sparsity.pruned=trained"], "with pruned='trained'|regrowth='init'"),
        (["sparsity=constant", "sparsity.groups=[{parameters: a, kap: 1}]"], "groups: .*kap"),
        (["sparsity=constant", "sparsity.groups=[{start: 0.2}]"], "needs parameters"),
    ],
)
def test_settings_that_cannot_be_right_are_told(overrides, message):
    config = composed("recipe=allison", *overrides)
    model = FastSpeech2(config.model, 40, 80)
    module = nn.ModuleDict({"model": model})
    with pytest.raises(RecipeError, match=message):
        schedule = sparsity_schedule(config.sparsity, 4000)
        require_reachable(config.sparsity, schedule, module, 4000)


def test_what_cannot_be_is_an_error():
    with pytest.raises(RecipeError, match="start=40: give a number above 0 and below 1"):
        composed("sparsity=constant", "sparsity.start=40")
    with pytest.raises(RecipeError, match="too short .* raise trainer.updates"):
        decaying_levels(0.4, updates=30)


def test_the_ablations_schedules():
    def schedule(kind, *overrides):
        config = composed("recipe=ljspeech", f"sparsity={kind}", *overrides).sparsity
        return sparsity_schedule(config, updates=40_000)

    rising = schedule("rising")
    levels = [rising(update) for update in (0, 499, 500, 999, 1000, 1999, 2000, 39_999)]
    assert levels == [0.0, 0.0, 0.1, 0.1, 0.2, 0.2, 0.4, 0.4]
    gradual = schedule("gradual")
    assert gradual(3_999) == 0.0 and gradual(20_000) == gradual(39_999) == 0.4
    # Zhu and Gupta's formula s_f + (s_i - s_f)(1 - (t - t_0) / n)^3, half-way.
    assert gradual(12_000) == pytest.approx(0.4 - 0.4 * 0.5**3)
    with pytest.raises(RecipeError, match="begin=0.5 has to come before finish=0.5"):
        schedule("gradual", "sparsity.begin=0.5")
    with pytest.raises(RecipeError, match="sparsity.kind=sinking: choose one of dense, "):
        schedule("dense", "sparsity.kind=sinking")


@pytest.mark.parametrize(
    ("sparsity", "cap"), [(0.2, 0.75), (0.6, 0.75), (0.75, 0.95), (0.8, 0.95), (0.97, 1.0)]
)
def test_the_cap_can_reach_the_start(sparsity, cap):
    assert cap_for(sparsity) == cap
    sizes = [7, 129, 1000]
    check_reachable(sizes, sparsity, cap)


@pytest.mark.parametrize(
    ("sparsity", "message"),
    [
        (["sparsity=decaying"], None),
        (["sparsity=dense"], None),
        (["sparsity=rising", "sparsity.cap=0.3"], "sparsity 0.4 cannot be reached under a cap"),
        (["sparsity=constant", "sparsity.include=[decodr.*]"], "decodr.*matches no"),
    ],
)
def test_a_cap_that_a_model_cannot_meet_is_told(sparsity, message):
    config = composed(*sparsity).sparsity
    module = nn.Module()
    module.model = FastSpeech2(section(ModelSettings, "model/tiny.yaml"), vocabulary=40)
    schedule = sparsity_schedule(config, 4000)
    if message is None:
        require_reachable(config, schedule, module)
        return
    with pytest.raises(RecipeError, match=f"sparsity.(cap|include).*{message}"):
        require_reachable(config, schedule, module)
