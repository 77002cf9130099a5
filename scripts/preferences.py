"""Analyse the answers of listeners: `make preferences RESULTS=<file or folder>`."""

from evaluation.application import hydra_main
from evaluation.listening.commands import show_preferences

if __name__ == "__main__":
    hydra_main(show_preferences)
