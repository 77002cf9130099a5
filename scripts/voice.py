"""Write a trained run as a voice, which speaks on its own: `make voice RUN=... VOICE=...`."""

from evaluation.application import hydra_main
from speech.commands import make_voice

if __name__ == "__main__":
    hydra_main(make_voice)
