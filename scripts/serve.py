"""Serve the listening test and collect answers until Ctrl-C: `make serve`."""

from evaluation.application import hydra_main
from evaluation.listening.commands import serve_test

if __name__ == "__main__":
    hydra_main(serve_test)
