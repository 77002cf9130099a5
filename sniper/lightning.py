"""The former place of `sniper.integrations.lightning`, for code that still imports from here."""

from sniper.integrations.lightning import SniperCallback

__all__ = ["SniperCallback"]
