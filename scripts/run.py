"""Stages 4, 5 and 6 of one run in one process, which loads its libraries once."""

from common import stage_script
from stage4_train import train_stage
from stage5_vocode import vocode_stage
from stage6_evaluate import evaluate_stage


def run_stages(config) -> None:
    """Train, vocode and evaluate what is not up to date; reference rows have no training."""
    if config.system == "model":
        train_stage(config)
    vocode_stage(config)
    evaluate_stage(config)


main = stage_script(run_stages)

if __name__ == "__main__":
    main()
