"""Stage 5: synthesise the test sentences of a run and vocode them."""

from evaluation.application import hydra_main
from pipeline.stages import SYNTHESIS, runs


@runs(SYNTHESIS)
def vocode_stage(config) -> None:
    from speech.synthesis import synthesise_run

    synthesise_run(config)


if __name__ == "__main__":
    hydra_main(vocode_stage)
