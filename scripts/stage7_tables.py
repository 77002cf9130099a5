"""Stage 7: tables, figures and the report over all finished runs."""

from evaluation.report.build import build_report
from pipeline.configuration import hydra_main

if __name__ == "__main__":
    hydra_main(build_report)
