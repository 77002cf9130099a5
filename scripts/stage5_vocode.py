"""Stage 5: synthesise the test sentences of a run and vocode them."""

from pathlib import Path

from pipeline.entry_point import stage_script
from pipeline.stage_folder import StageFolder
from pipeline.stages import features_fingerprint, synthesis_fingerprint, training_fingerprint


def vocode_stage(config) -> None:
    run = Path(config.paths.run)
    if StageFolder(run / "synthesis", synthesis_fingerprint(config)).is_complete():
        print(f"stage 5: {run} is up to date")
        return
    StageFolder(config.paths.features, features_fingerprint(config)).require("make stage3")
    if config.system == "model":
        StageFolder(run / "train", training_fingerprint(config)).require("make stage4")

    from speech.synthesis import synthesise_run

    synthesise_run(config, run)


main = stage_script(vocode_stage)

if __name__ == "__main__":
    main()
