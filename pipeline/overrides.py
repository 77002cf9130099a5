"""What is wrong with overrides that Hydra cannot compose."""

from collections.abc import Iterable, Iterator
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

from pipeline.errors import RecipeError
from pipeline.settings import WrongSettings, meant, read_settings


def wrong_overrides(kind: type, overrides: Iterable[str]) -> RecipeError:
    """Tell all that is wrong with overrides, which are tried one by one, choices of groups first.

    Args:
        kind: the sections of the whole configuration.
        overrides: that cannot be composed.
    """
    groups = {name: _options(name) for name in _groups()}
    named = sorted(overrides, key=lambda override: _key(override) not in groups)
    kept: list[str] = []
    problems: list[str] = []
    unknown: set[str] = set()
    for override in named:
        if _key(override).partition(".")[0] in unknown:
            continue  # its group is told already
        try:
            tried = _each(override)
            for each in tried:
                hydra.compose("config", [*kept, each])
            kept.append(tried[0])
        except HydraException as error:
            problems.append(_problem(kind, override, kept, groups, str(error)))
            unknown |= {_key(override)} & groups.keys()
    try:
        read_settings(kind, hydra.compose("config", [*kept, "name=checked"]))
    except HydraException as error:
        problems.append(str(error))
    except WrongSettings as error:
        problems += error.problems
    return WrongSettings(problems)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def _groups() -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return [*loader.list_groups(""), *(f"hydra/{name}" for name in loader.list_groups("hydra"))]


def _options(group: str) -> list[str]:
    return GlobalHydra.instance().config_loader().get_group_options(group)


def _each(override: str) -> list[str]:
    """The overrides of a sweep such as `seed=0,1`; of any other, itself."""
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return [override]
    return [f"{_key(override)}={value}" for value in parsed.sweep_string_iterator()]


def _problem(
    kind: type, override: str, kept: list[str], groups: dict[str, list[str]], error: str
) -> str:
    name, (_, equals, value) = _key(override), override.partition("=")
    if name in groups:
        options = ", ".join(groups[name])
        return f"{override}: choose one of {options}{meant(value, groups[name])}"
    known = [*groups, *_names(hydra.compose("config", kept))]
    if name in known or not equals:
        return f"{override}: {error.partition(chr(10))[0]}"
    try:
        read_settings(kind, hydra.compose("config", [*kept, f"+{override}", "name=checked"]))
        advice = f"; to add it, write +{override}"
    except RecipeError:
        known = [each for each in known if each.startswith("hydra") == name.startswith("hydra")]
        elsewhere = [each for each in known if each.endswith(f".{name}")]
        siblings = [each for each in known if each.rpartition(".")[0] == name.rpartition(".")[0]]
        moved = f"; did you mean {elsewhere[0]}?" if elsewhere else ""
        advice = moved or meant(name, siblings) or meant(name, known)
    return f"{override}: there is no setting of this name{advice}"


def _names(config: Any, prefix: str = "") -> Iterator[str]:
    """All dotted names of a configuration, whose values are not resolved."""
    for key in config:
        yield f"{prefix}{key}"
        if isinstance(node := config._get_node(key), DictConfig):
            yield from _names(node, f"{prefix}{key}.")
