"""Finds the checkpoint that a training starts from, without importing torch."""

from pathlib import Path

from pipeline.errors import RecipeError


def weight_files(path: Path) -> tuple[Path, list[Path]]:
    """The weights at a path, and the settings that they need.

    - A run of this project, its `train/` or its `model.pt`, which needs none.
    - A checkpoint `*.pth` of ESPnet, or its folder, which needs `config.yaml` beside it.
    - A checkpoint `*.pth.tar` of ming024/FastSpeech2, or its folder, which needs `model.yaml` and
      `preprocess.yaml` beside it.

    Raises:
        RecipeError: there is no such checkpoint, a folder has several, or the settings are missing.
    """
    kinds = {"*.pth.tar": ["model.yaml", "preprocess.yaml"], "*.pth": ["config.yaml"], "*.pt": []}
    if path.is_dir():
        for own in (path / "train" / "model.pt", path / "model.pt"):
            if own.exists():
                return own, []
        found = [each for pattern in ("*.pth.tar", "*.pth") for each in sorted(path.glob(pattern))]
        if len(found) != 1:
            names = ", ".join(each.name for each in found) or "none"
            raise RecipeError(f"{path} has to hold one checkpoint to start from; it holds {names}")
        path = found[0]
    if not path.is_file():
        raise RecipeError(f"{path} does not exist: name a run, or a checkpoint to start from")
    needed = next((files for pattern, files in kinds.items() if path.match(pattern)), None)
    if needed is None:
        raise RecipeError(f"{path} is no checkpoint: its name ends in none of .pt, .pth, .pth.tar")
    settings = [path.with_name(name) for name in needed]
    if missing := [each.name for each in settings if not each.exists()]:
        raise RecipeError(f"{path} needs {' and '.join(missing)} beside it")
    return path, settings
