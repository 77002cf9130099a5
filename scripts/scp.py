"""Writes wav.scp, text and references of a run, as VERSA reads them."""

from evaluation.application import hydra_main
from evaluation.metrics.scp import write_scp

if __name__ == "__main__":
    hydra_main(write_scp)
