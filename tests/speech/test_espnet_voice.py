"""A checkpoint of ESPnet's speaks; tests/fastspeech2/test_espnet.py compares its network."""

import math

import pytest
import torch
import yaml
from conftest import composed

from fastspeech2 import FastSpeech2
from fastspeech2.espnet import _espnet_name, model_config
from pipeline.errors import RecipeError
from speech import load_voice
from speech.commands import say

PHONES = "HH AH0 L OW1 W ER1 D".split()
SYMBOLS = ["<blank>", "<unk>", *PHONES, "sil", ",", ".", "?", "<sos/eos>"]
CONFIG = {
    "tts": "fastspeech2",
    "tts_conf": {"adim": 32, "eunits": 48, "dunits": 48, "elayers": 2, "dlayers": 2},
    "token_list": SYMBOLS,
    "feats_extract": "fbank",
    "feats_extract_conf": {"fs": 22050, "fmin": 80, "fmax": 7600, "n_mels": 80, "hop_length": 256},
    "pitch_extract_conf": {"f0min": 80, "f0max": 400, "reduction_factor": 1},
}


@pytest.fixture
def folder(tmp_path):
    """The folder of a checkpoint of random weights, whose phones last some four frames."""
    torch.manual_seed(0)
    model = FastSpeech2(model_config(CONFIG), len(SYMBOLS), 80)
    torch.nn.init.constant_(model.duration_predictor.output.bias, 1.6)
    state = {f"tts.{_espnet_name(name)}": value for name, value in model.state_dict().items()}
    state |= {"normalize.mean": torch.full((80,), -2.0), "normalize.std": torch.full((80,), 0.5)}
    for name, mean, std in (("pitch", 5.0, 0.9), ("energy", 1.5, 1.2)):
        state[f"{name}_normalize.mean"] = torch.tensor([mean])
        state[f"{name}_normalize.std"] = torch.tensor([std])
    torch.save(state, tmp_path / "train.loss.ave_5best.pth")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG), "utf-8")
    return tmp_path


def test_make_say_speaks_and_tells_what_the_conversion_loses(folder, tmp_path, capsys):
    text = "Hello, world. Hello?"
    say(composed(f"voice={folder}", f"say.text='{text}'", f"say.output={tmp_path / 'a.wav'}"))
    printed = capsys.readouterr().out
    assert "ESPnet's mel (80 to 7600 Hz) is converted" in printed and "a.wav: " in printed
    assert (tmp_path / "a.wav").stat().st_size > 10_000


def test_punctuation_silence_and_the_end_of_sentence_are_symbols(folder):
    voice = load_voice(folder / "train.loss.ave_5best.pth")
    synthesiser = voice.synthesiser()
    phones = voice.pronouncer(synthesiser).phones("Hello, world!")
    assert phones == ["sil", *PHONES[:4], ",", "W", "ER1", "L", "D", "sil"]
    assert synthesiser.indices(phones)[-1] == len(SYMBOLS) - 1


def test_mels_are_in_hifigans_domain(folder):
    """The normalised output, times std plus mean, times ln 10, between neighbouring bands."""
    synthesiser = load_voice(folder).synthesiser()
    indices = synthesiser.indices(PHONES)
    spoken = synthesiser.synthesise([indices])[0]
    with torch.no_grad():
        raw = synthesiser.acoustic.model(indices[None], torch.tensor([len(indices)]))
    natural = (raw.mel_postnet[0] * 0.5 - 2.0) * math.log(10)
    low, high = natural.min(1).values, natural.max(1).values
    assert ((spoken.mel >= low[:, None] - 1e-4) & (spoken.mel <= high[:, None] + 1e-4)).all()
    assert torch.allclose(spoken.mel[:, 0], natural[:, 0], atol=1e-5)
    assert torch.allclose(spoken.pitch, raw.pitch[0] * 0.9 + 5.0, atol=1e-5)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"feats_extract_conf": {"fs": 24000}}, r"feats_extract_conf.fs=24000 \(not 22050\)"),
        ({"feats_extract_conf": {}}, r"feats_extract_conf.fs=16000 \(not 22050\)"),
        ({"feats_extract": "linear_spectrogram"}, "feats_extract=linear_spectrogram"),
        ({"pitch_extract_conf": {"use_log_f0": False}}, "use_log_f0=False"),
        ({"token_list": None}, "no token_list"),
    ],
)
def test_what_cannot_be_spoken_is_refused_by_name(folder, settings, message):
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | settings), "utf-8")
    with pytest.raises(RecipeError, match=message):
        load_voice(folder).synthesiser()


def test_missing_parts_are_named(folder):
    path = folder / "train.loss.ave_5best.pth"
    state = torch.load(path)
    torch.save({k: v for k, v in state.items() if not k.startswith("pitch_n")}, path)
    with pytest.raises(RecipeError, match=r"lacks pitch_normalize.mean, pitch_normalize.std"):
        load_voice(folder).synthesiser()
    torch.save(state, folder / "latest.pth")
    with pytest.raises(RecipeError, match="several checkpoints .latest.pth, train.loss"):
        load_voice(folder)
    (folder / "config.yaml").unlink()
    with pytest.raises(RecipeError, match="needs its config.yaml beside it"):
        load_voice(path)
