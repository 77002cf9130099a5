"""A voice of ESPnet: a FastSpeech2 checkpoint and the config.yaml beside it."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from audio.constants import HOP, MELS, SAMPLE_RATE
from audio.espnet_mel import FREQUENCIES, LOSS
from audio.mel import WINDOW
from fastspeech2.espnet import load_espnet, read_config, statistics_of, symbols_of
from fastspeech2.synthesis.acoustic import AcousticModel
from fastspeech2.synthesis.synthesiser import Synthesiser
from hifigan.settings import Vocoder
from pipeline.errors import RecipeError
from preprocessing.text.pronouncer import Pronouncer
from speech.voice import Voice

_MEL: dict[str, tuple] = {
    **{"fs": (SAMPLE_RATE, str(SAMPLE_RATE), "22.05k"), "n_fft": (WINDOW,), "n_mels": (MELS,)},
    **{"win_length": (None, WINDOW), "hop_length": (HOP,), "log_base": (10.0,), "htk": (False,)},
    **{"fmin": FREQUENCIES[:1], "fmax": FREQUENCIES[1:], "window": ("hann",), "center": (True,)},
}
"""What ESPnet's mel settings have to be for the conversion of audio/espnet_mel.py."""


@dataclass(frozen=True)
class EspnetVoice(Voice):
    """An ESPnet FastSpeech2 of a single English speaker that was trained on phones."""

    config: Path = field(kw_only=True)
    """config.yaml"""

    def synthesiser(self, device: str = "cpu") -> Synthesiser:
        """Load the acoustic model, and print what the conversion of its mels loses.

        Raises:
            RecipeError: the network is a variant that cannot be loaded, its mels are not those of
                ESPnet's recipe for LJSpeech, its pitch is not logarithmic, or a part of the
                checkpoint is missing.
        """
        config = read_config(self.config)
        _check_features(config, self.config)
        state = torch.load(self.weights, map_location="cpu", weights_only=True)
        model = load_espnet(state, config).to(device)
        symbols = symbols_of(config, self.config)
        print(LOSS)
        acoustic = AcousticModel(model, statistics_of(state), mel_kind="espnet")
        return Synthesiser(acoustic, symbols)

    def pronouncer(self, synthesiser: Synthesiser) -> Pronouncer:
        """CMUdict and its rules alone, since ESPnet keeps no lexicon."""
        return Pronouncer({}, synthesiser.index)


def espnet_voice(path: Path, vocoder: Vocoder) -> EspnetVoice | None:
    """The voice of a checkpoint `*.pth` or of its folder, or None if the path is neither.

    Args:
        path: of the checkpoint, with ESPnet's config.yaml beside it, or of the folder of both.
        vocoder: for its mels.

    Raises:
        RecipeError: the config.yaml is missing, or the folder has several checkpoints.
    """
    if path.suffix == ".pth":
        found = [path]
        if not path.exists() or not path.with_name("config.yaml").exists():
            raise RecipeError(f"{path}: a checkpoint of ESPnet needs its config.yaml beside it")
    else:
        found = sorted(path.glob("*.pth")) if (path / "config.yaml").exists() else []
    if not found:
        return None
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise RecipeError(f"{path} has several checkpoints ({names}): give the path of one")
    config = found[0].with_name("config.yaml")
    return EspnetVoice(found[0].parent, found[0], Path(), None, vocoder, config=config)


def _check_features(config: dict, path: Path) -> None:
    """Raise RecipeError if the mels or the pitch differ from those of ESPnet's recipe."""
    given = {"fs": 16000} | (config.get("feats_extract_conf") or {})  # ESPnet's default
    faults = [
        f"feats_extract_conf.{name}={given[name]} (not {allowed[0]})"
        for name, allowed in _MEL.items()
        if name in given and given[name] not in allowed
    ]
    if (kind := config.get("feats_extract", "fbank")) != "fbank":
        faults.append(f"feats_extract={kind} (not fbank)")
    if not (config.get("pitch_extract_conf") or {}).get("use_log_f0", True):
        faults.append("pitch_extract_conf.use_log_f0=False (not True)")
    if faults:
        raise RecipeError(f"{path}: the mel or the pitch cannot be converted: {'; '.join(faults)}")
