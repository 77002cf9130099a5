"""Stage 4: train FastSpeech2 with SNIPER."""

from pathlib import Path

from pipeline.entry_point import stage_script
from pipeline.stage_folder import StageFolder
from pipeline.stages import features_fingerprint, training_fingerprint


def trained_alike(stage: StageFolder, experiment: Path) -> Path | None:
    """Another run's finished training of the same settings, where only what follows differs."""
    others = (StageFolder(path, stage.fingerprint) for path in sorted(experiment.glob("*/train")))
    return next((other.folder for other in others if other.is_complete()), None)


def train_stage(config) -> None:
    stage = StageFolder(f"{config.paths.run}/train", training_fingerprint(config))
    if stage.is_complete():
        print(f"stage 4: {config.paths.run} is up to date")
        return
    # Of several processes, each would copy: they train.
    alike = trained_alike(stage, Path(config.paths.experiment))
    if alike and config.trainer.devices == 1:
        stage.take_over(alike)
        print(f"stage 4: {config.paths.run} takes over the training of {alike.parent}")
        return
    StageFolder(config.paths.features, features_fingerprint(config)).require("make stage3")
    # What cannot be followed is told before the seconds that Lightning takes to load.
    from fastspeech2.training.settings import check_settings
    from fastspeech2.training.sparsity import sparsity_schedule

    check_settings(config)
    sparsity_schedule(config.sparsity, config.trainer.updates)

    from fastspeech2.training.train import train

    measure = None
    if config.selection.criterion == "mcd":
        from evaluation.metrics.validation import validation_mcd

        measure = validation_mcd(config)
    train(config, config.paths.run, measure)


main = stage_script(train_stage)

if __name__ == "__main__":
    main()
