"""Starts a training from the weights of another model, for a new voice or corpus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import Tensor

from fastspeech2.espnet import load_espnet, read_config, statistics_of, symbols_of
from fastspeech2.ming024 import load_ming024
from fastspeech2.model.fastspeech2 import FastSpeech2
from pipeline.errors import RecipeError
from pipeline.weight_files import weight_files
from preprocessing.features.store import FeatureStore
from preprocessing.text.phones import ARPABET, PAUSE, SILENCE, UNKNOWN
from preprocessing.text.punctuation import END


@dataclass(frozen=True)
class Source:
    """A trained model that another training starts from."""

    state: Mapping[str, Tensor]
    """by the names of `FastSpeech2`"""
    symbols: Sequence[str]
    """the phones by index"""
    statistics: Mapping[str, dict]
    """mean and std of what the checkpoint has of `mel`, `pitch` and `energy`"""
    mels: str
    """what its outputs are, in words"""


def warm_start(model: FastSpeech2, location: str, store: FeatureStore, statistics: str) -> set[str]:
    """Give a model the weights of another, by name, and print what was not taken.

    Phones are matched by their symbols; one that the other model lacks gets the mean of the others'
    vectors. Tensors that the other model lacks, or has in another shape, keep their initial values.

    Args:
        model: with its initial values.
        location: see `pipeline.weight_files.weight_files`.
        store: the features to train on.
        statistics: `recomputed` keeps the store's mean and standard deviation of mel, pitch and
            energy, `taken` replaces them by the checkpoint's.

    Returns:
        The names of the tensors that were taken.

    Raises:
        RecipeError: there is no such checkpoint, it cannot be read, it has no statistics that could
            be taken, or none of its tensors fits.
    """
    source = read_source(Path(location))
    own = model.state_dict()
    fits = {
        name: name in source.state and source.state[name].shape == value.shape
        for name, value in own.items()
        if name != "embedding.weight"
    }
    vectors, new = _phone_vectors(source, store.symbols, own["embedding.weight"])
    if not any(fits.values()):
        raise RecipeError(f"trainer.init_from={location}: none of its tensors fits this model")
    if statistics == "taken":
        if missing := {"mel", "pitch", "energy"} - source.statistics.keys():
            raise RecipeError(
                f"trainer.init_statistics=taken: {location} has none of "
                f"{', '.join(sorted(missing))}; set trainer.init_statistics=recomputed"
            )
        store.statistics = dict(source.statistics)
    taken = {name: source.state[name] for name, fit in fits.items() if fit}
    model.load_state_dict(own | taken | {"embedding.weight": vectors})
    left = {
        "kept at their initial values": [name for name, fit in fits.items() if not fit],
        "of the checkpoint, not taken": sorted(source.state.keys() - own.keys()),
        "phones that start from the mean of the others": new,
    }
    print(f"started from {location}: {len(taken) + (vectors is not own)} tensors taken")
    for what, names in left.items():
        if names:
            print(f"  {what}: {', '.join(names)}")
    mels = _mels(store.mel_kind, model.normalised_mel)
    if source.mels != mels:
        print(f"  its outputs are {source.mels}, those of this training {mels}")
    return set(taken)


def _phone_vectors(
    source: Source, symbols: Sequence[str], initial: Tensor
) -> tuple[Tensor, list[str]]:
    """The vectors `[symbols, channels]` of these symbols, and those that the source lacks."""
    vectors = source.state.get("embedding.weight", torch.empty(0, 0))
    if vectors.shape[1] != initial.shape[1]:
        return initial, list(symbols[1:])
    rows = {symbol: i for i, symbol in enumerate(source.symbols) if i > 0 and symbol}
    # Punctuation and silences do not take part in the mean.
    spoken = [i for symbol, i in rows.items() if symbol in ARPABET] or list(rows.values())
    mean = vectors[spoken].mean(0)
    found = [rows.get(symbol, rows.get(_ALIASES.get(symbol, ""))) for symbol in symbols]
    result = torch.stack([mean if row is None else vectors[row] for row in found])
    result[0] = initial[0]
    new = [symbol for symbol, row in zip(symbols, found, strict=True) if row is None]
    return result, [symbol for symbol in new if symbol != symbols[0]]


_ALIASES = {PAUSE: SILENCE, SILENCE: PAUSE, "<eos>": END}
"""Other names of a symbol, for a model that lacks it."""


def read_source(path: Path) -> Source:
    """Read the checkpoint that `trainer.init_from` names.

    Raises:
        RecipeError: there is none, its settings are missing beside it, or it does not fit them.
    """
    weights, settings = weight_files(path)
    try:
        saved = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise any kind of error
        reason = str(error).partition("\n")[0]
        raise RecipeError(f"{weights} cannot be read as a checkpoint: {reason}") from None
    read = {0: _own, 1: _espnet, 2: _ming024}[len(settings)]
    return read(saved, settings)


def _own(saved: Mapping, settings: list[Path]) -> Source:
    """A `model.pt` of this project."""
    if not isinstance(saved, Mapping) or not {"model", "symbols", "statistics"} <= saved.keys():
        raise RecipeError(
            "the checkpoint is no model.pt of a training: it lacks weights, symbols or statistics"
        )
    kind = saved.get("features", {}).get("mel", "hifigan")
    mels = _mels(kind, saved["config"].get("normalised_mel", False))
    return Source(saved["model"], saved["symbols"], saved["statistics"], mels)


def _espnet(saved: Mapping, settings: list[Path]) -> Source:
    """A checkpoint of ESPnet, with its config.yaml."""
    config = read_config(settings[0])
    symbols = symbols_of(config, settings[0])
    state = load_espnet(saved, config).state_dict()
    return Source(state, symbols, statistics_of(saved), _mels("espnet", True))


def _ming024(saved: Mapping, settings: list[Path]) -> Source:
    """A checkpoint of ming024/FastSpeech2, with its model.yaml and preprocess.yaml."""
    configs = [yaml.safe_load(path.read_text("utf-8")) for path in settings]
    model = load_ming024(saved.get("model", saved), *configs)
    symbols = ming024_symbols()
    if len(symbols) != model.embedding.num_embeddings:
        raise RecipeError(
            f"the checkpoint has {model.embedding.num_embeddings} symbols, but the list of "
            f"ming024/FastSpeech2 has {len(symbols)}, so it is unknown which phones they are"
        )
    return Source(model.state_dict(), symbols, {}, _mels("hifigan", False))


def ming024_symbols() -> list[str]:
    """The 361 symbols of ming024/FastSpeech2 (text/symbols.py), as far as they are phones.

    Letters, punctuation and the syllables of Pinyin get empty names.
    """
    arpabet = sorted(ARPABET)  # vowels with and without stress, as CMUdict's list has them
    return [*[""] * 64, *arpabet, *[""] * (361 - 64 - len(arpabet) - 3), PAUSE, UNKNOWN, SILENCE]


def _mels(kind: str, normalised: bool) -> str:
    return f"{'normalised ' * normalised}mels of {kind}"
