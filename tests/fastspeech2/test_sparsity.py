"""The paper's schedules, and what else the halving rule gives."""

import pytest
from omegaconf import OmegaConf

from fastspeech2.sparsity import decaying_levels, sparsity_schedule
from preprocessing.errors import RecipeError


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
    def schedule(**settings):
        return sparsity_schedule(OmegaConf.create(settings), updates=40_000)

    constant = schedule(kind="constant", start=0.4)
    assert [constant(update) for update in (0, 39_999)] == [0.4, 0.4]
    decaying = schedule(kind="decaying", start=0.4, lowest=0.1, first_switch=0.0125)
    assert [decaying(update) for update in (0, 499, 500, 2000)] == [0.4, 0.4, 0.2, 0.0]
    assert schedule(kind="dense")(0) == 0.0


def test_what_cannot_be_is_an_error():
    with pytest.raises(RecipeError, match="fraction between 0 and 1, not 40"):
        sparsity_schedule(OmegaConf.create({"kind": "constant", "start": 40}), 100)
    with pytest.raises(RecipeError, match="no room .* raise trainer.updates"):
        decaying_levels(0.4, updates=30)
