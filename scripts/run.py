"""Stages 4, 5 and 6 of one run in one process, which loads its libraries only once."""

from pathlib import Path

from evaluation.application import hydra_main
from pipeline.locks import lock_folder
from pipeline.stages import speaks_with_own_training
from stage4_train import train_stage
from stage5_vocode import vocode_stage
from stage6_evaluate import evaluate_stage

ENDING = 10.0
"""Seconds to wait for the same run of a sweep that has just been stopped."""


def run_stages(config) -> None:
    """Train, vocode and evaluate, as far as this is not up to date. References need no training.

    Raises:
        RecipeError: another process works on this run, for example one whose sweep was killed.
    """
    run = Path(config.paths.run)
    lock = lock_folder(run, run / "run.lock", ENDING)
    try:
        if speaks_with_own_training(config):
            train_stage(config)
        vocode_stage(config)
        evaluate_stage(config)
    finally:
        lock.release()


if __name__ == "__main__":
    hydra_main(run_stages)
