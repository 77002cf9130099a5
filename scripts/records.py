"""Keep records of a sweep's finished runs: `make records` with the arguments of `make sweep`."""

from evaluation.application import hydra_main
from pipeline.sweep import keep_records

if __name__ == "__main__":
    hydra_main(keep_records)
