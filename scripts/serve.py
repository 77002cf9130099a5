"""Serve the listening test and collect answers until Ctrl-C: `make serve`."""

from evaluation.listening.commands import serve_test
from pipeline.configuration import hydra_main

if __name__ == "__main__":
    hydra_main(serve_test)
