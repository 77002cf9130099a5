"""Speech from phones: a trained model with its vocabulary and statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor

from preprocessing.errors import RecipeError

from .compensation import compensate
from .model import FastSpeech2

Factor = float | Sequence[Sequence[float]]
"""One factor for all, or one for each phone of each utterance."""


@dataclass
class Synthesis:
    """One synthesised utterance."""

    mel: Tensor
    """log-mel, `[frames, mels]`"""
    durations: Tensor
    """frames, `[phones]`"""
    pitch: Tensor
    """natural log of F0 in Hz, `[phones]`"""
    energy: Tensor
    """`[phones]`, as in the feature store"""


class Synthesiser:
    """A trained FastSpeech2 in evaluation mode.

    Args:
        model: with weights loaded.
        symbols: its phone vocabulary; index 0 is padding.
        statistics: of pitch and energy, as in the feature store.
        mel_ratio: what each band's variance is compensated by, `[mels]`, where it is.
    """

    def __init__(
        self,
        model: FastSpeech2,
        symbols: Sequence[str],
        statistics: dict,
        mel_ratio: Sequence[float] | None = None,
    ):
        self.model = model.eval()
        self.mel_ratio = None if mel_ratio is None else torch.tensor(mel_ratio)
        self.index = {symbol: i for i, symbol in enumerate(symbols)}
        self.statistics = statistics

    def _indices(self, phones: Sequence[str]) -> Tensor:
        unknown = sorted({phone for phone in phones if phone not in self.index})
        if unknown or not phones:
            problem = f"unknown phone {', '.join(unknown)}" if unknown else "no phones"
            known = " ".join(list(self.index)[1:])
            raise RecipeError(f"cannot synthesise: {problem}. The model knows: {known}")
        return torch.tensor([self.index[phone] for phone in phones])

    def _raw(self, name: str, normalised: Tensor) -> Tensor:
        return normalised * self.statistics[name]["std"] + self.statistics[name]["mean"]

    def _normalised(self, name: str, raw: Tensor) -> Tensor:
        return (raw - self.statistics[name]["mean"]) / self.statistics[name]["std"]

    def _compensated(self, mel: Tensor) -> Tensor:
        return mel if self.mel_ratio is None else compensate(mel, self.mel_ratio)

    @torch.inference_mode()
    def synthesise(
        self,
        phone_lists: Sequence[Sequence[str]],
        speed: Factor = 1.0,
        pitch: Factor = 1.0,
        energy: Factor = 1.0,
    ) -> list[Synthesis]:
        """Mels of a batch of utterances.

        Args:
            phone_lists: phones of each utterance.
            speed: how many times as fast; divides durations.
            pitch: multiplies F0 in Hz.
            energy: multiplies energy.

        Raises:
            RecipeError: a phone is not in the model's vocabulary (named), an utterance is empty,
                or a factor is not positive.
        """
        indices = [self._indices(phones) for phones in phone_lists]
        lengths = torch.tensor([len(row) for row in indices])
        phones = torch.nn.utils.rnn.pad_sequence(indices, batch_first=True)
        factors = {"speed": speed, "pitch": pitch, "energy": energy}
        factors = {name: _per_phone(name, value, lengths) for name, value in factors.items()}

        variances = self.model.predict_variances(phones, lengths)
        durations = variances.durations(factors["speed"])
        log_f0 = self._raw("pitch", variances.pitch) + factors["pitch"].log()
        raw_energy = self._raw("energy", variances.energy) * factors["energy"]
        _, mel, frames = self.model.decode(
            variances,
            durations,
            self._normalised("pitch", log_f0) * variances.mask,
            self._normalised("energy", raw_energy) * variances.mask,
        )
        return [
            Synthesis(
                self._compensated(mel[i, : int(frames[i])]),
                durations[i, :length],
                log_f0[i, :length],
                raw_energy[i, :length],
            )
            for i, length in enumerate(lengths.tolist())
        ]


def _per_phone(name: str, factor: Factor, lengths: Tensor) -> Tensor:
    """A factor as `[batch, phones]`, one in the padding."""
    values = torch.ones(len(lengths), int(lengths.max()))
    for i, length in enumerate(lengths.tolist()):
        row = torch.as_tensor(factor if isinstance(factor, float | int) else factor[i])
        if row.dim() and len(row) != length:
            raise RecipeError(f"{name}: {len(row)} factors for {length} phones")
        if not bool((row > 0).all()):
            raise RecipeError(f"{name} factors have to be positive: {row.tolist()}")
        values[i, :length] = row
    return values


def load_synthesiser(run_folder: Path | str) -> Synthesiser:
    """The synthesiser of a finished training run.

    Raises:
        RecipeError: there is no trained model in the run's folder.
    """
    path = Path(run_folder) / "train" / "model.pt"
    if not path.exists():
        raise RecipeError(f"{path} is not there: train the run first with `make stage4`")
    saved = torch.load(path, map_location="cpu", weights_only=True)
    mels = len(saved["statistics"]["mel"]["mean"])
    model = FastSpeech2(OmegaConf.create(saved["config"]), len(saved["symbols"]), mels)
    model.load_state_dict(saved["model"])
    return Synthesiser(model, saved["symbols"], saved["statistics"], saved["mel_ratio"])
