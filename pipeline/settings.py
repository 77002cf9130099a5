"""Settings that name one of several things, or are numbers."""

from collections.abc import Collection, Iterator, Mapping
from numbers import Real
from typing import TypeVar

from omegaconf import DictConfig, OmegaConf

from pipeline.errors import RecipeError

Option = TypeVar("Option")
ABSENT = object()
"""In place of a setting that a configuration does not have."""


def check_choice(setting: str, value: object, options: Collection) -> None:
    """Raises a RecipeError that lists the options, if the value of a setting is none of them."""
    if value not in options:
        raise RecipeError(f"{setting}={value}: choose one of {', '.join(map(str, options))}")


def chosen(setting: str, value: str, options: Mapping[str, Option]) -> Option:
    """What the value of a setting stands for, or a RecipeError that lists the options."""
    check_choice(setting, value, options)
    return options[value]


def wrong_numbers(
    config: DictConfig,
    whole: Mapping[str, int],
    real: Mapping[str, float],
    nullable: Collection[str] = (),
) -> Iterator[str]:
    """What is wrong with each number of a configuration that is none, or too low.

    Args:
        whole: the least of each whole number, by its dotted name; those that the configuration
            does not have are passed over.
        real: the same of numbers that need not be whole.
        nullable: names of those that may be null.
    """
    for limits, kind, what in ((whole, int, "a whole number"), (real, Real, "a number")):
        for name, least in limits.items():
            value = OmegaConf.select(config, name, default=ABSENT)
            if value is ABSENT or (value is None and name in nullable):
                continue
            if not isinstance(value, kind) or isinstance(value, bool) or not value >= least:
                yield f"{name}={value}: give {what} of {least:g} or more"


def check_numbers(
    config: DictConfig,
    whole: Mapping[str, int],
    real: Mapping[str, float],
    nullable: Collection[str] = (),
) -> None:
    """Raises a RecipeError of all that `wrong_numbers` finds."""
    if wrong := [*wrong_numbers(config, whole, real, nullable)]:
        raise RecipeError("; ".join(wrong))
