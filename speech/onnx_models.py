"""The models of an exported run in ONNX Runtime, called like the torch models."""

from collections.abc import Sequence
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from fastspeech2.synthesis.acoustic import Spoken
from fastspeech2.synthesis.synthesiser import Synthesiser
from pipeline.digests import sha256
from pipeline.errors import RecipeError
from pipeline.files import read_json

INPUTS = ("phones", "phone_lengths", "speed", "pitch", "energy")
"""Names of the inputs of `acoustic.onnx`, in the order of `AcousticModel.forward`."""


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class OnnxAcoustic:
    """An exported acoustic model, called like `AcousticModel`."""

    def __init__(self, path: Path):
        self.session = _session(path)

    def __call__(self, *inputs: Tensor) -> Spoken:
        """Synthesise a padded batch; the arguments are those of `AcousticModel.forward`."""
        arrays = {name: x.numpy() for name, x in zip(INPUTS, inputs, strict=True)}
        return Spoken(*(torch.from_numpy(x) for x in self.session.run(None, arrays)))


class OnnxVocoder:
    """An exported HiFi-GAN, called like a `Vocoder`."""

    def __init__(self, path: Path):
        self.session = _session(path)

    def __call__(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """Turn log-mels `[frames, mels]` into waveforms `[samples]`, one at a time."""
        waveforms = []
        for mel in mels:
            audio = self.session.run(None, {"mel": mel.T[None].contiguous().numpy()})[0]
            waveforms.append(torch.from_numpy(audio)[0, 0])
        return waveforms


def load_onnx(folder: Path, weights: Path, vocoder: str) -> tuple[Synthesiser, OnnxVocoder]:
    """Load what `make export` wrote for a voice or a run.

    Args:
        folder: of the voice or the run.
        weights: the `model.pt` that the export has to be of. It may be missing.
        vocoder: name of the vocoder that the settings ask for.

    Raises:
        RecipeError: there is no export, it is of other weights, or it has another vocoder.
    """
    folder = folder / "onnx"
    if not (folder / "speech.json").exists():
        raise RecipeError(f"{folder} does not contain an export: run `make export` first")
    index = read_json(folder / "speech.json")
    if weights.exists() and sha256(weights) != index["model_sha256"]:
        raise RecipeError(f"{folder} was exported from other weights: run `make export` again")
    if index["vocoder"] != vocoder:
        raise RecipeError(
            f"{folder} was exported with the vocoder {index['vocoder']}, not {vocoder}: set "
            f"vocoder={index['vocoder']}, or run `make export` again"
        )
    synthesiser = Synthesiser(OnnxAcoustic(folder / "acoustic.onnx"), index["symbols"])
    return synthesiser, OnnxVocoder(folder / "vocoder.onnx")
