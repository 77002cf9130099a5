"""How runs are named by their overrides."""

import hashlib
from collections.abc import Iterable

LONGEST_NAME = 200  # bytes without the seed; file systems take 255
NOT_SETTINGS = (
    *("recipe", "name", "sweep", "seeds", "jobs", "records", "nonfinite", "samples"),
    *("output", "speed", "pitch", "energy", "backend"),
)
"""Overrides that do not change what a run computes, nor do those of `NOT_SETTINGS_BELOW`.

`nonfinite` decides whether a run goes on, and record.json counts the updates that it skipped.
"""
NOT_SETTINGS_BELOW = ("paths.", "parallel.", "sweep.", "listening.", "hydra.")
FIRST_SEED = "seed=0"
"""The default: a run that names it is the same as one that does not, and has the same folder."""


def run_settings(overrides: Iterable[str]) -> list[str]:
    """The overrides that change what a run computes, in their order."""
    settings = []
    for override in overrides:
        key = override.split("=")[0].lstrip("+~")
        if key in NOT_SETTINGS or key.startswith(NOT_SETTINGS_BELOW) or override == FIRST_SEED:
            continue
        settings.append(override)
    return settings


def run_name(overrides: Iterable[str]) -> str:
    """A run is named by its overrides (`seed=1,sparsity=constant`); without any, `default`."""
    settings = run_settings(overrides)
    name = ",".join(sorted(settings)).replace("/", "_")
    # Cut alike for every seed, so that runs can be grouped over seeds by their names.
    seeds = [each for each in settings if each.startswith("seed=")]
    rest = ",".join(sorted(each for each in settings if each not in seeds)).replace("/", "_")
    if len(rest.encode()) > LONGEST_NAME:
        digest = hashlib.sha256(rest.encode()).hexdigest()[:16]
        cut = rest.encode()[: LONGEST_NAME - 17].decode(errors="ignore")
        name = ",".join([f"{cut}-{digest}", *seeds])
    return name or "default"
