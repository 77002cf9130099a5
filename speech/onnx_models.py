"""An exported run in ONNX Runtime; called as the torch models are."""

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
"""Of `acoustic.onnx`, as those of `AcousticModel`."""


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class OnnxAcoustic:
    """An exported `AcousticModel`."""

    def __init__(self, path: Path):
        self.session = _session(path)

    def __call__(self, *inputs: Tensor) -> Spoken:
        """From a padded batch and its factors to mels, as `AcousticModel.forward`."""
        arrays = {name: x.numpy() for name, x in zip(INPUTS, inputs, strict=True)}
        return Spoken(*(torch.from_numpy(x) for x in self.session.run(None, arrays)))


class OnnxVocoder:
    """An exported HiFi-GAN."""

    def __init__(self, path: Path):
        self.session = _session(path)

    def __call__(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """Waveforms `[samples]` of log-mels `[frames, mels]`, one at a time."""
        waveforms = []
        for mel in mels:
            audio = self.session.run(None, {"mel": mel.T[None].contiguous().numpy()})[0]
            waveforms.append(torch.from_numpy(audio)[0, 0])
        return waveforms


def load_onnx(run_folder: Path | str, vocoder: str) -> tuple[Synthesiser, OnnxVocoder]:
    """What `make export` wrote of a run.

    Args:
        vocoder: name of the one that is asked for.

    Raises:
        RecipeError: the run is not exported, was exported with another vocoder, or was trained
            again since.
    """
    folder = Path(run_folder) / "onnx"
    if not (folder / "speech.json").exists():
        raise RecipeError(f"{folder} holds no exported run: run `make export` first")
    index = read_json(folder / "speech.json")
    trained = Path(run_folder) / "train" / "model.pt"
    if trained.exists() and sha256(trained) != index["model_sha256"]:
        raise RecipeError(f"{folder} is older than {trained}: run `make export` again")
    if index["vocoder"] != vocoder:
        raise RecipeError(
            f"{folder} was exported with the vocoder {index['vocoder']}, not {vocoder}: choose "
            "that one, or run `make export` again"
        )
    synthesiser = Synthesiser(OnnxAcoustic(folder / "acoustic.onnx"), index["symbols"])
    return synthesiser, OnnxVocoder(folder / "vocoder.onnx")
