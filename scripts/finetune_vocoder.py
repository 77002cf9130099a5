"""Fine-tune HiFi-GAN on recordings, or on GTA mels of a run: `make finetune`."""

from pipeline.entry_point import stage_script
from pipeline.stage_folder import StageFolder
from pipeline.stages import features_fingerprint


def finetune_vocoder(config) -> None:
    from pipeline.stages import finetuning_fingerprint

    stage = StageFolder(config.paths.finetuned, finetuning_fingerprint(config))
    if stage.is_complete():
        print(f"finetune: {stage.folder} is up to date")
        return
    if not config.finetuning.mels:
        StageFolder(config.paths.features, features_fingerprint(config)).require("make stage3")

    from hifigan.finetuning.train import finetune

    finetune(config)


main = stage_script(finetune_vocoder)

if __name__ == "__main__":
    main()
