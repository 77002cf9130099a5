"""Checks of settings: numbers that are large enough, and names that stand for something."""

from collections.abc import Callable, Collection, Mapping
from numbers import Real
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from pipeline.errors import RecipeError

Option = TypeVar("Option")
Rule = Callable[[Any], str]
"""From the value of a setting to advice for the user, which is empty if the value is allowed."""
_ABSENT = object()
"""In place of the value of a setting that a configuration does not have."""


def whole(least: int, nullable: bool = False) -> Rule:
    """The rule of an integer of at least `least`."""
    return _number(int, f"give a whole number of {least} or more", least, nullable)


def real(least: float, nullable: bool = False) -> Rule:
    """The rule of any number of at least `least`."""
    return _number(Real, f"give a number of {least:g} or more", least, nullable)


def one_of(options: Collection) -> Rule:
    """The rule of a setting that is one of some options."""
    advice = f"choose one of {', '.join(map(str, options))}"
    return lambda value: "" if value in options else advice


def _number(kind: type, advice: str, least: float, nullable: bool) -> Rule:
    def rule(value: Any) -> str:
        if value is None and nullable:
            return ""
        # bool is a kind of int, and not a number (NaN) is not >= anything.
        allowed = isinstance(value, kind) and not isinstance(value, bool) and value >= least
        return "" if allowed else advice

    return rule


def check_settings(config: DictConfig, rules: Mapping[str, Rule]) -> None:
    """Check settings by their dotted names. Those that the configuration lacks are skipped.

    Raises:
        RecipeError: names all settings that are not allowed, with advice.
    """
    problems = []
    for name, rule in rules.items():
        value = OmegaConf.select(config, name, default=_ABSENT)
        if value is not _ABSENT and (advice := rule(value)):
            problems.append(f"{name}={value}: {advice}")
    if problems:
        raise RecipeError("; ".join(problems))


def check_choice(setting: str, value: object, options: Collection) -> None:
    """Raise a `RecipeError` that lists the options, if the value of a setting is none of them."""
    if advice := one_of(options)(value):
        raise RecipeError(f"{setting}={value}: {advice}")


def chosen(setting: str, value: str, options: Mapping[str, Option]) -> Option:
    """The option that the value of a setting names; raises like `check_choice`."""
    check_choice(setting, value, options)
    return options[value]
