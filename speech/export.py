"""Exports a voice to ONNX: `acoustic.onnx`, `vocoder.onnx` and `speech.json`, their description."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from audio.constants import HOP, SAMPLE_RATE
from fastspeech2.synthesis.acoustic import AcousticModel, Spoken
from hifigan import Generator
from hifigan.vocoder import checked_generator
from pipeline.digests import sha256
from pipeline.errors import RecipeError
from pipeline.files import atomic_path, write_json
from speech.onnx_models import INPUTS, OnnxAcoustic, OnnxVocoder
from speech.voice import Voice

TOLERANCE = 1e-4
"""Largest allowed difference from torch in log-mels, log-F0, energy and samples.

Energy is compared in standard deviations over the corpus, samples in units of full scale.
"""
OPSET = 18


def _export(model: nn.Module, inputs: tuple, path: Path, names: Sequence[str], **options) -> None:
    with atomic_path(path) as temporary, warnings.catch_warnings(), torch.no_grad():
        # Warnings say that tracing is deprecated and may miss branches. The export is compared
        # with torch instead.
        warnings.simplefilter("ignore")
        # Tracing takes a second, torch.export takes minutes.
        torch.onnx.export(
            model.eval(),
            inputs,
            str(temporary),
            input_names=list(names),
            opset_version=OPSET,
            dynamo=False,
            **options,
        )


def random_inputs(symbols: int, batch: int, phones: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Draw a padded batch of phones, lengths and factors, the inputs of `AcousticModel.forward`."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, phones + 1, (batch,), generator=generator)
    lengths[0] = phones
    inside = torch.arange(phones) < lengths[:, None]
    indices = torch.randint(1, symbols, (batch, phones), generator=generator) * inside
    factors = 0.5 + torch.rand(3, batch, phones, generator=generator)
    return indices, lengths, *torch.where(inside, factors, 1.0)


def export_acoustic(acoustic: AcousticModel, symbols: int, path: Path) -> None:
    """Write an acoustic model for any batch size and length, from `INPUTS` to `Spoken`.

    Args:
        acoustic: on the CPU.
        symbols: size of its phone vocabulary.
        path: the ONNX file.
    """
    _export(
        acoustic,
        random_inputs(symbols, 2, 9),
        path,
        INPUTS,
        output_names=[f"spoken_{name}" for name in Spoken._fields],
        dynamic_axes={name: {0: "batch", 1: "phones"} for name in INPUTS if name != "phone_lengths"}
        | {"phone_lengths": {0: "batch"}, "spoken_mel": {0: "batch", 1: "frames"}},
    )


def export_vocoder(generator: Generator, path: Path) -> None:
    """Write a generator from log-mels `[batch, mels, frames]` to waveforms `[batch, 1, samples]`.

    Nothing masks padding, so all mels of a batch have to be equally long.
    """
    _export(
        generator.float(),
        (torch.zeros(1, generator.mels, 20),),
        path,
        ["mel"],
        output_names=["waveform"],
        dynamic_axes={"mel": {0: "batch", 2: "frames"}, "waveform": {0: "batch", 2: "samples"}},
    )


def acoustic_differences(
    torch_model: AcousticModel, onnx: Callable[..., Spoken], symbols: int
) -> Iterator[float]:
    """Yield the largest differences of mel, log-F0 and energy for batches of several sizes.

    Raises:
        RecipeError: the durations differ.
    """
    energy_std = torch_model.statistics["energy"]["std"]
    for batch, phones in ((1, 1), (1, 2), (1, 37), (3, 12), (2, 120)):
        inputs = random_inputs(symbols, batch, phones, seed=phones)
        wanted, found = torch_model(*inputs), onnx(*inputs)
        if not torch.equal(wanted.durations, found.durations):
            raise RecipeError(
                "the exported acoustic model predicts other durations than torch: do not use it"
            )
        inside = torch.arange(wanted.mel.shape[1]) < wanted.frames[:, None]
        yield float((wanted.mel - found.mel)[inside].abs().max())
        yield float((wanted.pitch - found.pitch).abs().max())
        yield float((wanted.energy - found.energy).abs().max()) / energy_std


def _vocoder_differences(generator: Generator, onnx: Callable) -> Iterator[float]:
    for frames in (1, 2, 13, 60):
        mel = torch.randn(frames, generator.mels, generator=torch.Generator().manual_seed(frames))
        wanted = generator(mel.T[None])[0, 0]
        yield float((wanted - onnx([mel])[0]).abs().max())


def _check(what: str, differences: Iterator[float]) -> float:
    """Return the largest difference, or raise a RecipeError if it is above `TOLERANCE`."""
    with torch.inference_mode():
        largest = max(differences)
    if not largest <= TOLERANCE:
        raise RecipeError(
            f"the exported {what} differs from torch by {largest:.1e}, more than {TOLERANCE:.0e}"
        )
    return largest


def export_voice(voice: Voice) -> dict[str, float]:
    """Write `onnx/` in the folder of a voice or run, and compare it with torch at several lengths.

    Returns:
        For each model, the largest difference between its outputs and those of torch.

    Raises:
        RecipeError: there is no trained model, the vocoder is not a HiFi-GAN, or an exported model
            differs from torch.
    """
    synthesiser = voice.synthesiser()
    if voice.vocoder.kind != "hifigan":
        raise RecipeError(
            f"a vocoder of the kind {voice.vocoder.kind} cannot be exported: choose "
            "vocoder=hifigan_universal"
        )
    generator = checked_generator(voice.vocoder)
    folder = voice.folder / "onnx"
    (folder / "speech.json").unlink(missing_ok=True)
    symbols = list(synthesiser.index)
    export_acoustic(synthesiser.acoustic, len(symbols), folder / "acoustic.onnx")
    export_vocoder(generator, folder / "vocoder.onnx")
    acoustic = OnnxAcoustic(folder / "acoustic.onnx")
    vocoder = OnnxVocoder(folder / "vocoder.onnx")
    differences = {
        "acoustic": _check(
            "acoustic model", acoustic_differences(synthesiser.acoustic, acoustic, len(symbols))
        ),
        "vocoder": _check("vocoder", _vocoder_differences(generator, vocoder)),
    }
    write_json(
        folder / "speech.json",
        {
            "symbols": symbols,
            "statistics": synthesiser.acoustic.statistics,
            "sample_rate": SAMPLE_RATE,
            "samples_per_frame": HOP,
            "largest_differences": differences,
            "model_sha256": sha256(voice.weights),
            "vocoder": voice.vocoder.name,
        },
    )
    return differences
