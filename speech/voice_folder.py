"""Writes a trained run as a voice: a folder that speaks on its own. See `speech.voice`."""

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.digests import sha256
from pipeline.errors import RecipeError
from pipeline.files import read_json, write_json
from pipeline.vocoder_files import PACKAGE, locate
from speech.settings import SpeechSettings
from speech.voice import LANGUAGE_FILES, Voice, configured_voice, load_voice

CARD = """---
license: {licence_id}
---
# Voice {name}

A FastSpeech2 model (`{model}`, {parameters:,} parameters) trained by SNIPER-TTS. Speak with it:

    make say VOICE={folder} TEXT="Any sentence you like."

- **Data**: {source}
- **Licence**: {licence}, that of the data
- **Vocoder**: {vocoder}
- **Weights**: half precision, computed in float32. `voice.json` has the digest of each file, which
  is checked whenever the voice is loaded.

## Training

{training}

## Quality

{metrics}
"""


def write_voice(config: SpeechSettings, folder: Path) -> Voice:
    """Write the run of this configuration as a voice, and return the voice.

    Raises:
        RecipeError: the run is not trained, its lexicon is missing, the recipe states no licence
            or no source of its data, or the folder holds something else.
    """
    run = configured_voice(config.model_copy(update={"voice": ""}))
    licence, source = (config.recipe.licence, config.recipe.source)
    if not licence or not source:
        raise RecipeError(
            "the recipe does not say where its data come from: set recipe.licence, such as "
            "CC-BY-4.0, and recipe.source, such as 'Five hours read by Jane Doe'"
        )
    if folder.exists() and not (folder / "voice.json").exists():
        raise RecipeError(f"{folder} exists and is not a voice: choose another folder with VOICE=")
    run.pronouncer(run.synthesiser())  # reports missing files before anything is written
    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    torch.save(half_precision(run.weights), temporary / "model.pt")
    shutil.copyfile(run.lexicon, temporary / "lexicon.txt")
    language = run.language.plain() if run.language else None
    for setting, name in LANGUAGE_FILES.items():
        if language and language.get(setting):
            shutil.copyfile(language[setting], temporary / name)
            language[setting] = name
    vocoder = _copy_vocoder(config.vocoder.plain(), temporary)
    record = read_json(run.folder / "train" / "record.json")
    files = sorted(path for path in temporary.rglob("*") if path.is_file())
    write_json(
        temporary / "voice.json",
        {
            "licence": licence,
            "source": source,
            "language": language,
            "vocoder": vocoder,
            "training": record,
            "sha256": {str(path.relative_to(temporary)): sha256(path) for path in files},
        },
    )
    card = _card(config, folder, vocoder, record)
    (temporary / "README.md").write_text(card, "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    return load_voice(folder)


def half_precision(weights: Path) -> dict:
    """Read model.pt and round its matrices to float16.

    Vectors stay in float32: they are few, and a bin edge or a variance may need the precision.
    """

    def rounded(value: Tensor) -> Tensor:
        return value.half() if value.is_floating_point() and value.ndim > 1 else value

    saved = torch.load(weights, map_location="cpu", weights_only=True)
    return saved | {"model": {name: rounded(value) for name, value in saved["model"].items()}}


def _copy_vocoder(vocoder: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Copy a vocoder of the user's own into the voice; refer to one of an installed package."""
    if vocoder.get("checkpoint", PACKAGE).startswith(PACKAGE):
        return vocoder
    (folder / "vocoder").mkdir()
    names = {"checkpoint": "vocoder/generator", "config": "vocoder/config.json"}
    for setting, name in names.items():
        shutil.copyfile(locate(vocoder[setting]), folder / name)
    vocoder.pop("folder", None)
    return vocoder | names | {"sha256": sha256(folder / names["checkpoint"])}


def _card(config: SpeechSettings, folder: Path, vocoder: dict[str, Any], record: dict) -> str:
    """The text of README.md."""
    settings = {
        "Run": record["name"],
        "Updates": f"{record['updates']:,}",
        "Seed": record["seed"],
        "Sparsity": ", ".join(f"{name} {value}" for name, value in record["sparsity"].items()),
        "Final sparsity": f"{100 * record['final_sparsity']:.1f} %",
        "Training time": f"{record['train_seconds'] / 60:.0f} min on {record['processor']}",
        "Precision": record["precision"],
        "Versions": ", ".join(f"{name} {value}" for name, value in record["versions"].items()),
    }
    path = Path(config.paths.run) / "evaluation" / "metrics.json"
    quality = "The run was not evaluated before this voice was written."
    if path.exists():
        metrics = read_json(path)
        quality = "Measured on the run, before its weights were rounded to half precision.\n\n"
        quality += "\n".join(
            f"- `{name}`: {value:.4g}. {metrics['definitions'][name]}"
            for name, value in metrics["measures"].items()
            if value is not None
        )
    return CARD.format(
        name=folder.name,
        folder=folder,
        model=record["model"],
        parameters=record["parameters"],
        licence=config.recipe.licence,
        licence_id=config.recipe.licence.lower(),
        source=config.recipe.source,
        vocoder=vocoder["name"],
        training="\n".join(f"- {name}: {value}" for name, value in settings.items()),
        metrics=quality,
    )
