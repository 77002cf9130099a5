"""Stage 7: tables, figures and the report over all finished runs."""

from evaluation.application import hydra_main
from evaluation.report.build import build_report

if __name__ == "__main__":
    hydra_main(build_report)
