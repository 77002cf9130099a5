"""Settings that name one of several things, or are numbers."""

from collections.abc import Collection, Iterator, Mapping
from numbers import Real
from typing import TypeVar

from omegaconf import DictConfig, OmegaConf

from preprocessing.errors import RecipeError

Option = TypeVar("Option")
ABSENT = object()
"""In place of a setting that a configuration does not have."""


def check_choice(setting: str, value: str, options: Collection[str]) -> None:
    """Raises a RecipeError that lists the options, if the value of a setting is none of them."""
    if value not in options:
        raise RecipeError(f"{setting}={value}: choose one of {', '.join(options)}")


def chosen(setting: str, value: str, options: Mapping[str, Option]) -> Option:
    """What the value of a setting stands for, or a RecipeError that lists the options."""
    check_choice(setting, value, options)
    return options[value]


def wrong_numbers(
    config: DictConfig, whole: Mapping[str, int], real: Mapping[str, float]
) -> Iterator[str]:
    """What is wrong with numbers of a configuration, a line for each that is no number or too low.

    Args:
        whole: the least that each may be by its dotted name; those that are not there are passed
            over.
        real: the same of numbers that need not be whole.
    """
    for limits, kind, what in ((whole, int, "a whole number"), (real, Real, "a number")):
        for name, least in limits.items():
            value = OmegaConf.select(config, name, default=ABSENT)
            if value is ABSENT:
                continue
            if not isinstance(value, kind) or isinstance(value, bool) or not value >= least:
                yield f"{name}={value}: give {what} of {least:g} or more"
