"""Speak a text with a trained run or a voice: `make say TEXT="..." RUN=... SPEED= BACKEND= ...`."""

from evaluation.application import hydra_main
from speech.commands import say

if __name__ == "__main__":
    hydra_main(say)
