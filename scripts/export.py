"""Export a trained run or a voice to ONNX: `make export RUN=...` or `make export VOICE=...`."""

from evaluation.application import hydra_main
from speech.commands import export

if __name__ == "__main__":
    hydra_main(export)
