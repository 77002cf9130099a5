"""Models and runs with random weights, which need no training."""

from pathlib import Path

import torch
from conftest import changed, composed, section

from evaluation.settings import Settings
from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.settings import ModelSettings

STATISTICS = {
    "mel": {"mean": [-5.0] * 80},
    "pitch": {"mean": 5.3, "std": 0.2},
    "energy": {"mean": 20.0, "std": 8.0},
}
SYMBOLS = "<pad> AA1 AH0 D EH1 F HH IH0 L N OW1 R S T W ER1 sp".split()
SMALLER = {
    "tiny": {},
    "espnet": {"hidden": 64, "ffn__channels": 96, "encoder_layers": 2, "decoder_layers": 2},
    "ming024": {"hidden": 64, "ffn__channels": 96, "encoder_layers": 2, "decoder_layers": 2},
}


def random_model(name: str) -> FastSpeech2:
    torch.manual_seed(0)
    config = changed(section(ModelSettings, f"model/{name}.yaml"), **SMALLER[name])
    model = FastSpeech2(config, len(SYMBOLS)).eval()
    for parameter in model.parameters():  # biases are zero only before training
        if parameter.dim() == 1 and parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.constant_(model.duration_predictor.output.bias, 1.6)  # about four frames a phone
    return model


def random_run(folder: Path) -> None:
    """Write a run whose model has random weights, with its lexicon beside it."""
    (folder / "train").mkdir(parents=True)
    torch.save(
        {
            "model": random_model("tiny").state_dict(),
            "mel_ratio": None,
            "config": section(ModelSettings, "model/tiny.yaml").plain(),
            "symbols": SYMBOLS,
            "statistics": STATISTICS,
        },
        folder / "train" / "model.pt",
    )
    (folder / "lexicon.txt").write_text("hello HH AH0 L OW1\nworld W ER1 L D\n", "utf-8")


def run_config(folder: Path, *overrides: str) -> Settings:
    """The configuration of the run that `random_run` wrote, with a vocoder in float32."""
    places = [f"paths.{name}={folder}" for name in ("run", "alignments")]
    config = composed(*places, *overrides)
    if config.vocoder.kind == "hifigan":
        config = changed(config, vocoder__precision="32")
    return config
