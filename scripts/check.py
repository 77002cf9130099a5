"""List every fault of a corpus and its alignments before stage 3: `make check`."""

from evaluation.application import hydra_main
from preprocessing.check import report_faults

if __name__ == "__main__":
    hydra_main(report_faults)
