"""Run a sweep: `make sweep SWEEP=paper SEEDS=3`."""

from pipeline.configuration import hydra_main
from pipeline.sweep import run_sweep

if __name__ == "__main__":
    hydra_main(run_sweep)
