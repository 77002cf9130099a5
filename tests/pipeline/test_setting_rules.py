"""The rules by which settings are checked."""

import pytest
from omegaconf import OmegaConf

from pipeline.errors import RecipeError
from pipeline.settings import check_choice, check_settings, chosen, one_of, real, whole

CONFIG = OmegaConf.create({"a": {"count": 2, "rate": 0.5, "none": None, "yes": True, "name": "x"}})


def test_what_the_rules_allow_passes():
    rules = {"a.count": whole(2), "a.rate": real(0.5), "a.none": real(1, nullable=True)}
    check_settings(CONFIG, rules | {"a.name": one_of(["w", "x"]), "a.absent": whole(0)})
    check_settings(CONFIG, {"a.count": real(2), "a.yes": one_of((False, True))})


@pytest.mark.parametrize(
    "name, value, rule, advice",
    [
        ("a.count", 2, whole(3), "give a whole number of 3 or more"),
        ("a.rate", 0.5, whole(0), "give a whole number of 0 or more"),
        ("a.rate", 0.5, real(0.6), "give a number of 0.6 or more"),
        ("a.none", None, whole(0), "give a whole number of 0 or more"),
        ("a.yes", True, whole(0), "give a whole number of 0 or more"),
        ("a.yes", True, real(0), "give a number of 0 or more"),
        ("a.name", "x", real(0), "give a number of 0 or more"),
        ("a.name", "x", one_of({"v": 1, "w": 2}), "choose one of v, w"),
    ],
)
def test_what_they_do_not_allow_is_reported_with_advice(name, value, rule, advice):
    with pytest.raises(RecipeError) as refusal:
        check_settings(CONFIG, {name: rule})
    assert str(refusal.value) == f"{name}={value}: {advice}"


def test_every_wrong_setting_is_reported_and_nan_is_no_number():
    config = OmegaConf.merge(CONFIG, {"a": {"rate": float("nan")}})
    with pytest.raises(RecipeError) as refusal:
        check_settings(config, {"a.rate": real(0), "a.count": whole(0), "a.name": whole(1)})
    assert str(refusal.value) == (
        "a.rate=nan: give a number of 0 or more; a.name=x: give a whole number of 1 or more"
    )


def test_a_choice_is_one_of_the_options():
    assert chosen("a.name", "x", {"x": 1}) == 1
    check_choice("a.name", "x", ["x"])
    with pytest.raises(RecipeError, match="a.name=y: choose one of x, z"):
        chosen("a.name", "y", {"x": 1, "z": 2})
