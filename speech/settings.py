"""The numbers by which stages 5 and 6 are configured."""

from omegaconf import DictConfig

from pipeline.settings import check_numbers

WHOLE = {"trainer.threads": 1, "evaluation.clips_per_set": 1, "evaluation.recogniser.beam": 1}
REAL = {"evaluation.silence": 0.0}
"""Numbers that are whole and others, and the least that each may be."""


def check_settings(config: DictConfig) -> None:
    """Raise RecipeError that names all of them that are wrong."""
    check_numbers(config, WHOLE, REAL, nullable=("evaluation.clips_per_set",))
