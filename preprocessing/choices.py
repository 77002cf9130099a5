"""Settings that name one of several things."""

from collections.abc import Collection, Mapping
from typing import TypeVar

from preprocessing.errors import RecipeError

Option = TypeVar("Option")


def check_choice(setting: str, value: str, options: Collection[str]) -> None:
    """Raises a RecipeError that lists the options, if the value of a setting is none of them."""
    if value not in options:
        raise RecipeError(f"{setting}={value}: choose one of {', '.join(options)}")


def chosen(setting: str, value: str, options: Mapping[str, Option]) -> Option:
    """What the value of a setting stands for, or a RecipeError that lists the options."""
    check_choice(setting, value, options)
    return options[value]
