"""Write a listening test of some runs: `make listening-test RUNS="..." ITEMS=20 SEED=0`."""

from evaluation.application import hydra_main
from evaluation.listening.commands import write_test

if __name__ == "__main__":
    hydra_main(write_test)
