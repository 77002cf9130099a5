"""Stage 6: measure the speech of a run."""

from pathlib import Path

from evaluation.application import hydra_main
from pipeline.configuration import run_settings, task_overrides
from pipeline.records import write_overrides
from pipeline.stages import EVALUATION, runs


@runs(EVALUATION)
def evaluate_stage(config) -> None:
    from evaluation.metrics.evaluate import evaluate_run

    write_overrides(Path(config.paths.run), run_settings(task_overrides()))
    evaluate_run(config)


if __name__ == "__main__":
    hydra_main(evaluate_stage)
