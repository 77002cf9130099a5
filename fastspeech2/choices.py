"""Settings that name one of several things."""

from collections.abc import Mapping
from typing import TypeVar

from preprocessing.errors import RecipeError

Option = TypeVar("Option")


def chosen(setting: str, value: str, options: Mapping[str, Option]) -> Option:
    """What the value of a setting stands for; a RecipeError lists the options if for nothing."""
    if value not in options:
        raise RecipeError(f"{setting} is one of {', '.join(options)}, not {value}")
    return options[value]
