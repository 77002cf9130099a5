"""Loggers of Lightning, chosen by conf/logger/, and how each of them takes mels and audio."""

import os
from pathlib import Path

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image
from torch import Tensor

from audio.constants import SAMPLE_RATE
from audio.wav import write_wav
from pipeline.errors import RecipeError
from pipeline.settings import Target


def make_logger(settings: Target | None) -> Logger | None:
    """Make the logger that conf/logger/ names, if any.

    Raises:
        RecipeError: it cannot be made, for example because its package is not installed.
    """
    if not settings:
        return None
    # MLflow keeps no runs in a folder unless it is told so. Of the stores that need no server, that
    # is the one that mlflow-skinny has.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    try:
        return settings.make("logger")
    except RecipeError as error:
        raise RecipeError(
            f"{error}. `make loggers` installs the packages for logger=wandb and logger=mlflow"
        ) from None


def log_sample(
    logger: Logger, name: str, mel: Tensor, waveform: Tensor, update: int, folder: Path
) -> None:
    """Log a synthesised sentence.

    Args:
        logger: TensorBoard, Weights & Biases and MLflow show samples; for others they are files.
        name: of the sentence.
        mel: an image `[mels, frames]` of values from 0 to 1, its first row on top.
        waveform: `[samples]`.
        update: at which it was synthesised.
        folder: in which files are written, as `<kind>/<name>/<update>`.
    """
    pixels = (255 * mel).round().byte().numpy()
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(f"mel/{name}", pixels, update, dataformats="HW")
        logger.experiment.add_audio(f"audio/{name}", waveform, update, SAMPLE_RATE)
        return
    if isinstance(logger, WandbLogger):
        logger.log_image(f"mel/{name}", [pixels], update)
        rates = [SAMPLE_RATE]
        logger.log_audio(f"audio/{name}", [waveform.numpy()], update, sample_rate=rates)
        return
    image, wav = (
        folder / kind / name / f"{update:08d}{suffix}"
        for kind, suffix in (("mel", ".png"), ("audio", ".wav"))
    )
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(image)
    write_wav(wav, waveform.numpy())
    if isinstance(logger, MLFlowLogger):
        for path in (image, wav):
            place = path.parent.relative_to(folder)
            logger.experiment.log_artifact(logger.run_id, str(path), str(place))
