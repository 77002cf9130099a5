"""Stage 4: train FastSpeech2 with SNIPER."""

from evaluation.application import hydra_main
from pipeline.stages import TRAINING, runs


@runs(TRAINING)
def train_stage(config) -> None:
    from fastspeech2.training.train import train

    measure_mcd = None
    if config.selection.criterion == "mcd":
        from evaluation.metrics.validation import validation_mcd

        measure_mcd = validation_mcd(config)
    train(config, measure_mcd)


if __name__ == "__main__":
    hydra_main(train_stage)
