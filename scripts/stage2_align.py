"""Stage 2: align the recordings with their texts."""

from evaluation.application import hydra_main
from pipeline.stages import ALIGNMENTS, runs


@runs(ALIGNMENTS)
def align_stage(config) -> None:
    from preprocessing.alignment.align import align

    align(config)


if __name__ == "__main__":
    hydra_main(align_stage)
