"""Write the ground-truth-aligned mels of a run for `make finetune`: `make gta-mels RUN=...`."""

from evaluation.application import hydra_main
from fastspeech2.synthesis.gta_mels import write_gta_mels

if __name__ == "__main__":
    hydra_main(write_gta_mels)
