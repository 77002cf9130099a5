"""What a training run depends on."""

from omegaconf import DictConfig

from preprocessing.artefacts import fingerprint
from preprocessing.fingerprints import features_fingerprint, vocoder_parts


def training_fingerprint(config: DictConfig) -> str:
    return fingerprint(
        features_fingerprint(config),
        config.model,
        config.sparsity,
        config.trainer,
        config.selection,
        # What mcd is measured on is vocoded.
        *(vocoder_parts(config.vocoder) if config.selection.criterion == "mcd" else [None]),
        config.seed,
    )
