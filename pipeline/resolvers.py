"""The cap per tensor; apart from the schedules, since every script asks and torch loads slowly."""

from numbers import Real

CAPS = (0.75, 0.95, 1.0)
"""Most that may be masked in any one tensor, fractions: the paper's, a higher one, and none."""


def cap_for(sparsity: float) -> float:
    """The first of `CAPS` that `sparsity` stays below, so that it can be reached."""
    if not isinstance(sparsity, Real):
        return CAPS[-1]  # the schedule will tell that this is no fraction
    return next((cap for cap in CAPS if sparsity < cap), CAPS[-1])
