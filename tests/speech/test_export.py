"""Exported models give the same outputs and the same speech as torch."""

from types import SimpleNamespace

import pytest
import torch
from conftest import composed
from omegaconf import OmegaConf

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.synthesis.acoustic import AcousticModel
from hifigan import Generator
from pipeline.errors import RecipeError
from pipeline.files import read_json
from speech.export import (
    acoustic_differences,
    export_acoustic,
    export_run,
    export_vocoder,
    random_inputs,
)
from speech.onnx_models import OnnxAcoustic, OnnxVocoder
from speech.speaker import PAUSE_SECONDS, load_speaker
from speech.synthesis import synthesise_run

STATISTICS = {
    "mel": {"mean": [-5.0] * 80},
    "pitch": {"mean": 5.3, "std": 0.2},
    "energy": {"mean": 20.0, "std": 8.0},
}
SYMBOLS = "<pad> AA1 AH0 D EH1 F HH IH0 L N OW1 R S T W ER1 sp".split()
SMALLER = {
    "tiny": {},
    "espnet": {"hidden": 64, "ffn": {"channels": 96}, "encoder_layers": 2, "decoder_layers": 2},
    "ming024": {"hidden": 64, "ffn": {"channels": 96}, "encoder_layers": 2, "decoder_layers": 2},
}


def random_model(name: str) -> FastSpeech2:
    torch.manual_seed(0)
    config = OmegaConf.merge(OmegaConf.load(f"conf/model/{name}.yaml"), SMALLER[name])
    model = FastSpeech2(config, len(SYMBOLS)).eval()
    for parameter in model.parameters():  # biases are zero only before training
        if parameter.dim() == 1 and parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.constant_(model.duration_predictor.output.bias, 1.6)  # about four frames a phone
    return model


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
    """The configuration of a run whose model has random weights."""
    model_config = OmegaConf.load("conf/model/tiny.yaml")
    (tmp_path / "train").mkdir()
    torch.save(
        {
            "model": random_model("tiny").state_dict(),
            "mel_ratio": None,
            "config": OmegaConf.to_container(model_config),
            "symbols": SYMBOLS,
            "statistics": STATISTICS,
        },
        tmp_path / "train" / "model.pt",
    )
    (tmp_path / "lexicon.txt").write_text("hello HH AH0 L OW1\nworld W ER1 L D\n", "utf-8")
    vocoder = OmegaConf.load("conf/vocoder/hifigan_universal.yaml")
    paths = {"run": str(tmp_path), "alignments": str(tmp_path)}
    vocoder.precision = "32"
    corpus = OmegaConf.load("conf/corpus/allison.yaml")
    return OmegaConf.create(
        {"backend": "torch", "paths": paths, "vocoder": vocoder, "corpus": corpus}
    )


def with_backend(config, backend: str):
    return OmegaConf.merge(config, {"backend": backend})


def test_a_run_speaks_the_same_with_torch_and_with_onnx(config, tmp_path):
    with pytest.raises(RecipeError, match="run `make export` first"):
        load_speaker(with_backend(config, "onnx"))
    differences = export_run(tmp_path, config.vocoder)
    assert max(differences.values()) <= 1e-4
    assert read_json(tmp_path / "onnx" / "speech.json")["symbols"] == SYMBOLS

    text, factors = "Hello world. {HH AH0} hello.", (0.9, 1.2, 1.1)
    with_torch, with_onnx = load_speaker(config), load_speaker(with_backend(config, "onnx"))
    wanted, found = with_torch(text, *factors), with_onnx(text, *factors)
    assert len(wanted) == len(found)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    assert torch.equal(with_onnx(text, *factors), found)

    # A text of two sentences is one after the other, with a pause between them.
    first, second = with_onnx("Hello world."), with_onnx("{HH AH0} hello.")
    pause = torch.zeros(round(PAUSE_SECONDS * 22_050))
    torch.testing.assert_close(with_onnx(text), torch.cat([first, pause, second]))

    other = OmegaConf.merge(with_backend(config, "onnx"), {"vocoder": {"name": "griffin_lim"}})
    with pytest.raises(RecipeError, match="with the vocoder hifigan_universal, not griffin_lim"):
        load_speaker(other)

    with open(tmp_path / "train" / "model.pt", "ab") as file:
        file.write(b" ")
    with pytest.raises(RecipeError, match="run `make export` again"):
        load_speaker(with_backend(config, "onnx"))


def test_errors_say_what_cannot_be_spoken_or_exported(config, tmp_path):
    speaker = load_speaker(config)
    with pytest.raises(RecipeError, match="unknown phone ZH. The model knows: AA1 AH0"):
        speaker("Hello {ZH}.")
    with pytest.raises(RecipeError, match="backend=jax: choose one of torch, onnx$"):
        load_speaker(with_backend(config, "jax"))
    with pytest.raises(RecipeError, match="griffin_lim cannot be exported: choose vocoder=hifigan"):
        export_run(tmp_path, OmegaConf.load("conf/vocoder/griffin_lim.yaml"))


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
        export_run(tmp_path, config.vocoder)
    assert not (tmp_path / "onnx" / "speech.json").exists()


def test_features_with_other_phones_than_the_models_are_refused(config, tmp_path, monkeypatch):
    """Stage 5 gives the model the store's indices, which have to mean the same phones."""
    store = SimpleNamespace(symbols=SYMBOLS[::-1], folder=tmp_path, split=lambda name: [])
    monkeypatch.setattr("speech.synthesis.FeatureStore", lambda folder: store)
    overrides = [f"paths.run={tmp_path}", f"paths.alignments={tmp_path}", "trainer.accelerator=cpu"]
    with pytest.raises(RecipeError, match="was trained on other phones than"):
        synthesise_run(composed(*overrides))
