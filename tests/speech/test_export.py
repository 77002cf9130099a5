"""Exported models give the same outputs and the same speech as torch."""

from types import SimpleNamespace

import pytest
import torch
from conftest import composed
from speech_cases import SMALLER, STATISTICS, SYMBOLS, random_model, random_run, run_config

from fastspeech2.synthesis.acoustic import AcousticModel
from hifigan import Generator
from pipeline.errors import RecipeError
from pipeline.files import read_json
from speech.export import (
    acoustic_differences,
    export_acoustic,
    export_vocoder,
    export_voice,
    random_inputs,
)
from speech.onnx_models import OnnxAcoustic, OnnxVocoder
from speech.speaker import PAUSE_SECONDS
from speech.synthesis import synthesise_run
from speech.voice import configured_voice


@pytest.mark.parametrize("name", SMALLER)
def test_the_exported_acoustic_model_equals_torch(name, tmp_path):
    acoustic = AcousticModel(random_model(name), STATISTICS, [1.2] * 80)
    export_acoustic(acoustic, len(SYMBOLS), tmp_path / "acoustic.onnx")
    onnx = OnnxAcoustic(tmp_path / "acoustic.onnx")
    # Tracing saw 9 phones. 400 phones have far more frames, and so positions, than it saw.
    for batch, phones in ((1, 1), (1, 9), (1, 400), (2, 10), (5, 33)):
        inputs = random_inputs(len(SYMBOLS), batch, phones, seed=batch + phones)
        with torch.inference_mode():
            wanted, found = acoustic(*inputs), onnx(*inputs)
        for field, expected, actual in zip(wanted._fields, wanted, found, strict=True):
            tolerance = 1e-4 * (8.0 if field == "energy" else 1.0)  # in standard deviations
            torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0, msg=field)


def test_the_exported_vocoder_equals_torch(tmp_path):
    torch.manual_seed(0)
    generator = Generator(
        {
            "resblock": "1",
            "upsample_rates": [8, 4],
            "upsample_kernel_sizes": [16, 8],
            "upsample_initial_channel": 32,
            "resblock_kernel_sizes": [3, 7],
            "resblock_dilation_sizes": [[1, 3], [1, 3]],
        }
    ).eval()
    export_vocoder(generator, tmp_path / "vocoder.onnx")
    mels = [torch.randn(frames, 80) for frames in (1, 7, 90)]
    with torch.inference_mode():
        wanted = [generator(mel.T[None])[0, 0] for mel in mels]
    for found, samples in zip(OnnxVocoder(tmp_path / "vocoder.onnx")(mels), wanted, strict=True):
        torch.testing.assert_close(found, samples, atol=1e-4, rtol=0)


@pytest.fixture
def config(tmp_path):
    random_run(tmp_path)
    return run_config(tmp_path)


def speaker(config, backend: str = "torch"):
    return configured_voice(config).speaker(backend)


def test_a_run_speaks_the_same_with_torch_and_with_onnx(config, tmp_path):
    with pytest.raises(RecipeError, match="run `make export` first"):
        speaker(config, "onnx")
    differences = export_voice(configured_voice(config))
    assert max(differences.values()) <= 1e-4
    assert read_json(tmp_path / "onnx" / "speech.json")["symbols"] == SYMBOLS

    text, factors = "Hello world. {HH AH0} hello.", (0.9, 1.2, 1.1)
    with_torch, with_onnx = speaker(config), speaker(config, "onnx")
    wanted, found = with_torch(text, *factors), with_onnx(text, *factors)
    assert len(wanted) == len(found)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    assert torch.equal(with_onnx(text, *factors), found)

    # A text of two sentences is one after the other, with a pause between them.
    first, second = with_onnx("Hello world."), with_onnx("{HH AH0} hello.")
    pause = torch.zeros(round(PAUSE_SECONDS * 22_050))
    torch.testing.assert_close(with_onnx(text), torch.cat([first, pause, second]))

    other = run_config(tmp_path, "vocoder=griffin_lim")
    with pytest.raises(RecipeError, match="with the vocoder hifigan_universal, not griffin_lim"):
        speaker(other, "onnx")

    with open(tmp_path / "train" / "model.pt", "ab") as file:
        file.write(b" ")
    with pytest.raises(RecipeError, match="run `make export` again"):
        speaker(config, "onnx")


def test_errors_say_what_cannot_be_spoken_or_exported(config, tmp_path):
    speak = speaker(config)
    with pytest.raises(RecipeError, match="unknown phone ZH. The model knows: AA1 AH0"):
        speak("Hello {ZH}.")
    with pytest.raises(RecipeError, match="backend=jax: choose one of torch, onnx$"):
        speaker(config, "jax")
    with pytest.raises(RecipeError, match="griffin_lim cannot be exported: choose vocoder=hifigan"):
        export_voice(configured_voice(run_config(tmp_path, "vocoder=griffin_lim")))


@pytest.mark.parametrize("field", ["mel", "pitch", "energy"])
def test_a_difference_in_any_output_is_found(field):
    acoustic = AcousticModel(random_model("tiny"), STATISTICS)

    def wrong(*inputs):
        spoken = acoustic(*inputs)
        unit = STATISTICS["energy"]["std"] if field == "energy" else 1.0
        return spoken._replace(**{field: getattr(spoken, field) + 1e-3 * unit})

    with torch.inference_mode():
        assert max(acoustic_differences(acoustic, acoustic, len(SYMBOLS))) == 0.0
        largest = max(acoustic_differences(acoustic, wrong, len(SYMBOLS)))
    assert largest == pytest.approx(1e-3, rel=0.01)


def test_an_export_that_differs_from_torch_is_refused(config, tmp_path, monkeypatch):
    call = OnnxAcoustic.__call__

    def wrong(self, *inputs):
        spoken = call(self, *inputs)
        return spoken._replace(mel=spoken.mel + 1e-3)

    monkeypatch.setattr(OnnxAcoustic, "__call__", wrong)
    with pytest.raises(RecipeError, match="acoustic model differs from torch by 1.0e-03"):
        export_voice(configured_voice(config))
    assert not (tmp_path / "onnx" / "speech.json").exists()


def test_features_with_other_phones_than_the_models_are_refused(config, tmp_path, monkeypatch):
    """Stage 5 gives the model the store's indices, which have to mean the same phones."""
    store = SimpleNamespace(symbols=SYMBOLS[::-1], folder=tmp_path, split=lambda name: [])
    monkeypatch.setattr("speech.synthesis.FeatureStore", lambda folder: store)
    overrides = [f"paths.run={tmp_path}", f"paths.alignments={tmp_path}", "trainer.accelerator=cpu"]
    with pytest.raises(RecipeError, match="was trained on other phones than"):
        synthesise_run(composed(*overrides))
