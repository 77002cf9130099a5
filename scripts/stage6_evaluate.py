"""Stage 6: measure the speech of a run."""

from pathlib import Path

from common import stage_script
from evaluation.fingerprints import evaluation_fingerprint, synthesis_fingerprint
from preprocessing.artefacts import StageFolder


def evaluate_stage(config) -> None:
    run = Path(config.paths.run)
    if StageFolder(run / "evaluation", evaluation_fingerprint(config)).is_complete():
        print(f"stage 6: {run} is up to date")
        return
    StageFolder(run / "synthesis", synthesis_fingerprint(config)).require("make stage5")

    from evaluation.evaluate import evaluate_run

    evaluate_run(config, run)


main = stage_script(evaluate_stage)

if __name__ == "__main__":
    main()
