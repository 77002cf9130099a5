"""Analyse the answers of listeners: `make preferences RESULTS=<file or folder>`."""

from evaluation.listening.commands import show_preferences
from pipeline.configuration import hydra_main

if __name__ == "__main__":
    hydra_main(show_preferences)
