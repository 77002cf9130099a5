"""What the first three stages' results depend on. Imports stay light: every stage asks."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from preprocessing.artefacts import fingerprint


def corpus_fingerprint(config: DictConfig) -> str:
    """Of stage 1: all of the corpus's section but what stage 3 applies, and its lexicon."""
    parts = [_without(config.corpus, "max_seconds")]
    if language := config.corpus.get("language"):
        parts.append(_list_file(language.lexicon))
    return fingerprint(*parts)


def alignment_fingerprint(config: DictConfig) -> str:
    """Of stage 2; for TextGrids from elsewhere, also which files they are."""
    source = config.aligner.get("source")
    return fingerprint(
        corpus_fingerprint(config),
        _without(config.aligner, "jobs"),
        _files(Path(source)) if source else None,
    )


def features_fingerprint(config: DictConfig) -> str:
    """Of stage 3; training compares what was left out itself."""
    return fingerprint(
        alignment_fingerprint(config),
        config.features,
        config.splits,
        _list_file(config.splits.get("held_out")),
        _without(config.check, "leave_out"),
    )


def _list_file(path: str | None) -> str | None:
    return Path(path).read_text("utf-8") if path and Path(path).exists() else None


def _without(section: DictConfig, *keys: str) -> dict:
    plain = OmegaConf.to_container(section, resolve=True)
    return {key: value for key, value in plain.items() if key not in keys}


def _files(source: Path) -> list:
    """Names, sizes and modification times under a folder, or of one file."""
    paths = sorted(source.rglob("*.TextGrid")) if source.is_dir() else [source]
    present = [(path, path.stat()) for path in paths if path.exists()]
    return [[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in present]
