"""Stage 3: extract mel, F0 and energy into the packed feature store."""

from evaluation.application import hydra_main
from pipeline.stages import FEATURES, runs


@runs(FEATURES)
def features_stage(config) -> None:
    from preprocessing.features.build import build_features

    build_features(config)


if __name__ == "__main__":
    hydra_main(features_stage)
