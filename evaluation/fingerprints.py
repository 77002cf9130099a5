"""What synthesis and evaluation depend on. Imports stay light: every stage asks."""

from pathlib import Path

from omegaconf import DictConfig

from fastspeech2.fingerprint import training_fingerprint
from preprocessing.artefacts import fingerprint
from preprocessing.fingerprints import features_fingerprint


def synthesis_fingerprint(config: DictConfig) -> str:
    """Of stage 5: the trained model, or the recordings alone for the reference rows."""
    if config.system == "model":
        source = [
            training_fingerprint(config),
            Path(config.evaluation.sentences).read_text("utf-8"),
        ]
    else:
        source = [features_fingerprint(config)]
    return fingerprint(config.system, *source, config.vocoder, config.evaluation.clips_per_set)


def evaluation_fingerprint(config: DictConfig) -> str:
    """Of stage 6."""
    return fingerprint(synthesis_fingerprint(config), config.evaluation)
