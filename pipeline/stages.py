"""What the first three stages' results depend on, and vocoders. Imports stay light: all ask.

Files are known by what they hold and not by where they are or when they were written, so that
machines agree.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from pipeline.digests import fingerprint, sha256
from pipeline.errors import RecipeError
from pipeline.files import read_json, read_utf8
from pipeline.vocoder_files import PACKAGE, generators


def corpus_fingerprint(config: DictConfig) -> str:
    """Of stage 1: all of the corpus's section but what stage 3 applies, its texts and its lexicon.

    Of a corpus that is not downloaded; its recordings are too large to be read by every stage.
    """
    parts = [_without(config.corpus, "max_seconds")]
    source = config.corpus.get("source", {})
    if texts := _texts(source):
        parts.append(_contents(texts, Path(source.get("folder") or "")))
    if language := config.corpus.get("language"):
        parts.append(_list_file(language.lexicon))
    return fingerprint(*parts)


def alignment_fingerprint(config: DictConfig) -> str:
    """Of stage 2; for TextGrids from elsewhere, also which files they are."""
    source = config.aligner.get("source")
    return fingerprint(
        corpus_fingerprint(config),
        _without(config.aligner, "jobs", "source"),
        _text_grids(Path(source)) if source else None,
    )


def features_fingerprint(config: DictConfig) -> str:
    """Of stage 3; training compares what was left out itself."""
    return fingerprint(
        alignment_fingerprint(config),
        config.features,
        _without(config.splits, "held_out"),
        _list_file(config.splits.get("held_out")),
        _without(config.check, "leave_out"),
    )


def vocoder_parts(vocoder: DictConfig) -> list:
    """Of what is vocoded: the section, and what is in weights that are files of the user's."""
    checkpoint = vocoder.get("checkpoint", PACKAGE)
    if checkpoint.startswith(PACKAGE):
        return [vocoder]
    path = Path(checkpoint)
    weights, base = (generators(path), path) if path.is_dir() else ([path], path.parent)
    return [vocoder, _contents([*weights, Path(vocoder.config)], base)]


def _texts(source: DictConfig) -> list[Path]:
    """The files that a corpus on disk has its texts in, as conf/corpus/ names them."""
    folder = Path(source.get("folder") or "")
    if table := source.get("table"):
        return [Path(table)]
    if texts := source.get("texts"):
        return sorted(folder.glob(texts.replace("{id}", "*")))
    return [folder / "metadata.csv"] if source.get("folder") else []


def _list_file(path: str | None) -> str | None:
    return read_utf8(path) if path and Path(path).exists() else None


def _without(section: DictConfig, *keys: str) -> dict:
    plain = OmegaConf.to_container(section, resolve=True)
    return {key: value for key, value in plain.items() if key not in keys}


def _text_grids(source: Path) -> list:
    """What is in all TextGrids under a folder, or in one file."""
    inside = (path for path in source.rglob("*") if path.suffix.lower() == ".textgrid")
    found = inside if source.is_dir() else [source]
    return _contents(found, source if source.is_dir() else source.parent)


def _contents(paths: Iterable[Path], base: Path) -> list[list[str]]:
    """Names, below `base` where they are, and digests of those files that are there."""
    contents = []
    for path in sorted(path for path in paths if path.is_file()):
        stat = path.stat()
        name = str(path.relative_to(base)) if path.is_relative_to(base) else path.name
        contents.append([name, _digest(path, stat.st_size, stat.st_mtime_ns)])
    return contents


@cache
def _digest(path: Path, size: int, modified: int) -> str:
    """Of the file as it is at this size and time, since a sweep asks for each of its runs."""
    return sha256(path)


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
