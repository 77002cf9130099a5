"""Stage 6: measure the speech of a run."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from pipeline.entry_point import stage_script
from pipeline.records import write_overrides
from pipeline.run_names import run_settings
from pipeline.stage_folder import StageFolder
from pipeline.stages import evaluation_fingerprint, synthesis_fingerprint


def evaluate_stage(config) -> None:
    run = Path(config.paths.run)
    write_overrides(run, run_settings(HydraConfig.get().overrides.task))
    if StageFolder(run / "evaluation", evaluation_fingerprint(config)).is_complete():
        print(f"stage 6: {run} is up to date")
        return
    StageFolder(run / "synthesis", synthesis_fingerprint(config)).require("make stage5")

    from evaluation.metrics.evaluate import evaluate_run

    evaluate_run(config, run)


main = stage_script(evaluate_stage)

if __name__ == "__main__":
    main()
