"""Fine-tune HiFi-GAN on recordings, or on GTA mels of a run: `make finetune`."""

from evaluation.application import hydra_main
from pipeline.stages import FINETUNING, runs


@runs(FINETUNING)
def finetune_vocoder(config) -> None:
    from hifigan.finetuning.train import finetune

    finetune(config)


if __name__ == "__main__":
    hydra_main(finetune_vocoder)
