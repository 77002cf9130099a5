"""The whole configuration, which every script checks before it does anything."""

from functools import partial

from evaluation.settings import Settings
from pipeline import configuration

hydra_main = partial(configuration.hydra_main, kind=Settings)
