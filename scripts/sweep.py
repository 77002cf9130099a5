"""Run a sweep: `make sweep SWEEP=paper SEEDS=3`."""

from evaluation.application import hydra_main
from pipeline.sweep import run_sweep

if __name__ == "__main__":
    hydra_main(run_sweep)
