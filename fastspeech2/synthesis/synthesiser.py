"""From phones to mels with a trained model, its vocabulary and its statistics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.synthesis.acoustic import AcousticModel, Spoken
from fastspeech2.synthesis.compensation import measure
from pipeline.errors import RecipeError
from preprocessing.features.store import FeatureStore
from preprocessing.text.punctuation import END

Factor = float | Sequence[Sequence[float]]
"""One factor for all phones, or one for each phone of each utterance."""


@dataclass
class Synthesis:
    """One synthesised utterance."""

    phones: Tensor
    """indices into the vocabulary, `[phones]`"""
    mel: Tensor
    """log-mel, `[frames, mels]`"""
    durations: Tensor
    """frames of each phone, `[phones]`"""
    pitch: Tensor
    """natural log of F0 in Hz, `[phones]`"""
    energy: Tensor
    """in the units of the feature store, `[phones]`"""


class Synthesiser:
    """Turns phones into mels.

    Args:
        acoustic: an `AcousticModel`, or another function with the arguments of its `forward`.
        symbols: its phone vocabulary. Index 0 is padding.
    """

    def __init__(self, acoustic: Callable[..., Spoken], symbols: Sequence[str]):
        self.acoustic = acoustic
        self.index = {symbol: i for i, symbol in enumerate(symbols)}
        self.end = [END] if list(symbols)[-1:] == [END] else []

    def indices(self, phones: Sequence[str]) -> Tensor:
        """Indices of phones in the model's vocabulary, int64 `[phones]`.

        The end of sentence follows them if the vocabulary has one.

        Raises:
            RecipeError: the vocabulary lacks a phone; names all that it lacks.
        """
        phones = [*phones, *([] if list(phones[-1:]) == self.end else self.end)]
        unknown = sorted({phone for phone in phones if not self.index.get(phone)})  # 0 is padding
        if unknown:
            known = " ".join(list(self.index)[1:])
            raise RecipeError(
                f"cannot synthesise: unknown phone {', '.join(unknown)}. The model knows: {known}"
            )
        return torch.tensor([self.index[phone] for phone in phones], dtype=torch.int64)

    @torch.inference_mode()
    def synthesise(
        self,
        utterances: Sequence[Tensor | np.ndarray | Sequence[int]],
        speed: Factor = 1.0,
        pitch: Factor = 1.0,
        energy: Factor = 1.0,
    ) -> list[Synthesis]:
        """Synthesise a batch of utterances. An empty batch gives an empty list.

        Args:
            utterances: for each, its phones as indices into the vocabulary, `[phones]`.
            speed: divides durations.
            pitch: multiplies F0 in Hz.
            energy: multiplies energy.

        Raises:
            RecipeError: an index is outside the vocabulary, an utterance has no phones, there are
                more or fewer factors than phones or utterances, or a factor is not positive and
                finite.
        """
        if not utterances:
            return []
        rows = [torch.as_tensor(phones, dtype=torch.int64) for phones in utterances]
        lengths = torch.tensor([len(row) for row in rows])
        if not lengths.all():
            raise RecipeError("cannot synthesise an utterance that has no phones")
        phones = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        if min(int(row.min()) for row in rows) < 1 or int(phones.max()) >= len(self.index):
            raise RecipeError(
                f"cannot synthesise: phone indices go from 1 to {len(self.index) - 1}"
            )
        factors = {"speed": speed, "pitch": pitch, "energy": energy}
        factors = [_per_phone(name, value, lengths) for name, value in factors.items()]
        spoken = self.acoustic(phones, lengths, *factors)
        return [
            Synthesis(
                rows[i],
                spoken.mel[i, :frames],
                spoken.durations[i, :length],
                spoken.pitch[i, :length],
                spoken.energy[i, :length],
            )
            for i, (length, frames) in enumerate(
                zip(lengths.tolist(), spoken.frames.tolist(), strict=True)
            )
        ]


def _per_phone(name: str, factor: Factor, lengths: Tensor) -> Tensor:
    """Expand a factor to `[batch, phones]`, with 1 in the padding."""
    single = isinstance(factor, float | int)
    if not single and len(factor) != len(lengths):
        raise RecipeError(f"{name} has {len(factor)} rows of factors for {len(lengths)} utterances")
    values = torch.ones(len(lengths), int(lengths.max()))
    for i, length in enumerate(lengths.tolist()):
        row = torch.as_tensor(factor if single else factor[i])
        if row.dim() and len(row) != length:
            raise RecipeError(f"{name} has {len(row)} factors for an utterance of {length} phones")
        if not bool(((row > 0) & row.isfinite()).all()):
            raise RecipeError(f"{name} has to be positive and finite, not {row.tolist()}")
        values[i, :length] = row
    return values


def synthesiser_of(model: FastSpeech2, store: FeatureStore, compensated: bool) -> Synthesiser:
    """Make a synthesiser of a model in memory, which is put into evaluation mode.

    Args:
        model: on any device.
        store: the features that it was trained on.
        compensated: apply variance compensation, measured on the validation split.
    """

    def synthesiser(ratio: list[float] | None = None) -> Synthesiser:
        acoustic = AcousticModel(model, store.statistics, ratio, store.mel_kind)
        return Synthesiser(acoustic, store.symbols)

    return synthesiser(measure(synthesiser(), store) if compensated else None)


def load_synthesiser(path: Path | str, device: str = "cpu") -> Synthesiser:
    """Load the model of a finished training run.

    Args:
        path: the run's folder, or its `model.pt`. Weights in half precision become float32.
        device: of the model.

    Raises:
        RecipeError: there is no trained model.
    """
    path = Path(path)
    path = path if path.suffix == ".pt" else path / "train" / "model.pt"
    if not path.exists():
        raise RecipeError(f"{path} does not exist: train the run first with `make stage4`")
    saved = torch.load(path, map_location="cpu", weights_only=True)
    mels = len(saved["statistics"]["mel"]["mean"])
    model = FastSpeech2(saved["config"], len(saved["symbols"]), mels)
    model.load_state_dict(saved["model"])
    kind = saved.get("features", {}).get("mel", "hifigan")
    acoustic = AcousticModel(model.to(device), saved["statistics"], saved["mel_ratio"], kind)
    return Synthesiser(acoustic, saved["symbols"])
