"""What synthesis and evaluation depend on. Imports stay light: every stage asks."""

from omegaconf import DictConfig

from fastspeech2.fingerprint import training_fingerprint
from preprocessing.artefacts import fingerprint, read_utf8
from preprocessing.errors import RecipeError
from preprocessing.fingerprints import features_fingerprint, vocoder_parts


def other_sentences(path: str | None) -> str:
    """The text of `evaluation.sentences`, one a line; none where it is null.

    Raises:
        RecipeError: the file is not there or not UTF-8.
    """
    if path is None:
        return ""
    try:
        return read_utf8(path)
    except FileNotFoundError:
        raise RecipeError(
            f"{path} is not there: write sentences of other domains into it, one a line, or set "
            "evaluation.sentences=null to evaluate held-out clips alone"
        ) from None


def synthesis_fingerprint(config: DictConfig) -> str:
    """Of stage 5: the trained model, or the recordings alone for the reference rows."""
    if config.system == "model":
        source = [training_fingerprint(config), other_sentences(config.evaluation.sentences)]
    else:
        source = [features_fingerprint(config)]
    vocoder, most = vocoder_parts(config.vocoder), config.evaluation.clips_per_set
    return fingerprint(config.system, *source, *vocoder, most)


def evaluation_fingerprint(config: DictConfig) -> str:
    """Of stage 6."""
    return fingerprint(synthesis_fingerprint(config), config.evaluation)
