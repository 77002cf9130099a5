"""Show a table of a recipe's sweeps until they end, or until Ctrl-C: `make status`."""

from evaluation.application import hydra_main
from pipeline.sweep_state import show_status

if __name__ == "__main__":
    hydra_main(show_status)
