"""What a fine-tuned vocoder depends on."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from preprocessing.artefacts import fingerprint, read_json
from preprocessing.fingerprints import features_fingerprint, vocoder_parts


def finetuning_fingerprint(config: DictConfig) -> str:
    """Of weights, settings and seed, and of the corpus or the mels that a model predicted of it."""
    settings = OmegaConf.to_container(config.finetuning, resolve=True)
    names = ("mels", "accelerator", "threads")
    mels, *_ = (settings.pop(name) for name in names)
    stage = Path(mels or "") / "stage.json"
    if mels:
        # Mels that came from elsewhere are known by their names alone.
        source = read_json(stage)["fingerprint"] if stage.exists() else mels
    else:
        source = features_fingerprint(config)
    vocoder = [config.vocoder.get(name) for name in ("checkpoint", "config", "sha256")]
    weights = vocoder_parts(config.vocoder)[1:]
    return fingerprint(settings, vocoder, source, config.seed, *weights)
