"""The whole recipe in one command: stages 1 to 3, the sweep, stage 7, and the demo's limits."""

from evaluation.application import hydra_main
from evaluation.report.build import build_report
from evaluation.report.limits import check_limits
from pipeline.sweep import run_sweep
from stage1_download import corpus_stage
from stage2_align import align_stage
from stage3_features import features_stage


def run_demo(config) -> None:
    for stage in (corpus_stage, align_stage, features_stage, run_sweep, build_report, check_limits):
        stage(config)


if __name__ == "__main__":
    hydra_main(run_demo)
