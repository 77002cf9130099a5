"""Stages 4, 5 and 6 of one run in one process, which loads its libraries once."""

from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.entry_point import stage_script
from pipeline.errors import RecipeError
from stage4_train import train_stage
from stage5_vocode import vocode_stage
from stage6_evaluate import evaluate_stage

ENDING = 10.0
"""Seconds that a run is given to end whose sweep was stopped a moment ago."""


def run_stages(config) -> None:
    """Train, vocode and evaluate what is not up to date; reference rows have no training.

    Raises:
        RecipeError: another process is at it, such as one whose sweep was killed.
    """
    run = Path(config.paths.run)
    run.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run / "run.lock", timeout=ENDING):
            if config.system == "model":
                train_stage(config)
            vocode_stage(config)
            evaluate_stage(config)
    except Timeout:
        raise RecipeError(f"another process is at work on {run}: wait for it, or end it") from None


main = stage_script(run_stages)

if __name__ == "__main__":
    main()
