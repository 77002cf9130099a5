"""Stage 4: train FastSpeech2 with SNIPER."""

from common import stage_script
from fastspeech2.fingerprint import training_fingerprint
from preprocessing.artefacts import StageFolder
from preprocessing.fingerprints import features_fingerprint


def train_stage(config) -> None:
    if StageFolder(f"{config.paths.run}/train", training_fingerprint(config)).is_complete():
        print(f"stage 4: {config.paths.run} is up to date")
        return
    StageFolder(config.paths.features, features_fingerprint(config)).require("make stage3")
    # A schedule that cannot be met is told before the seconds that Lightning takes to load.
    from fastspeech2.sparsity import sparsity_schedule

    sparsity_schedule(config.sparsity, config.trainer.updates)

    from fastspeech2.training import train

    measure = None
    if config.selection.criterion == "mcd":
        from evaluation.validation import validation_mcd

        measure = validation_mcd(config)
    train(config, config.paths.run, measure)


main = stage_script(train_stage)

if __name__ == "__main__":
    main()
