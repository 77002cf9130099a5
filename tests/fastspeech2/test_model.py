"""The whole model: padding, teacher forcing, control and loss."""

import pytest
import torch
from conftest import changed, composed, section

from fastspeech2.model.fastspeech2 import FastSpeech2, FastSpeech2Output
from fastspeech2.packing import padding_mask
from fastspeech2.settings import ModelSettings
from fastspeech2.synthesis.acoustic import AcousticModel
from fastspeech2.synthesis.synthesiser import Synthesiser
from fastspeech2.training.loss import fastspeech2_loss
from pipeline.errors import RecipeError

STATISTICS = {
    "pitch": {"mean": 5.3, "std": 0.2},
    "energy": {"mean": 20.0, "std": 8.0},
}
SYMBOLS = ["<pad>", "AH0", "HH", "L", "OW1", "sp"]


def model_of(name: str) -> FastSpeech2:
    torch.manual_seed(0)
    return FastSpeech2(section(ModelSettings, f"model/{name}.yaml"), vocabulary=len(SYMBOLS)).eval()


@pytest.fixture(scope="module")
def tiny() -> FastSpeech2:
    return model_of("tiny")


def test_espnet_model_has_the_papers_layers():
    model = model_of("espnet")
    hidden, ffn, mels, phones = 384, 1536, 80, len(SYMBOLS)
    attention = 4 * (hidden * hidden + hidden) + 2 * hidden
    feed_forward = 2 * 3 * hidden * ffn + ffn + hidden + 2 * hidden
    blocks = 8 * (attention + feed_forward) + 2 * 2 * hidden + 2

    def predictor(layers, kernel):
        first = hidden * 256 * kernel + 256 + 512
        return first + (layers - 1) * (256 * 256 * kernel + 256 + 512) + 257

    postnet = 5 * (2 * mels * 256 + 3 * 256 * 256) + 4 * 512 + 2 * mels
    expected = (
        phones * hidden + blocks + predictor(2, 3) * 2 + predictor(5, 5) + 4 * hidden
        + hidden * mels + mels + postnet
    )  # fmt: skip
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


@pytest.mark.parametrize("name", ["tiny", "espnet", "ming024"])
def test_synthesis_does_not_depend_on_what_is_batched_with_it(name):
    model = model_of(name)
    for parameter in model.parameters():  # biases are zero at first, and trained ones are not
        if parameter.dim() == 1 and parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.5)
    phones = torch.tensor([[2, 1, 3, 4], [4, 1, 0, 0]])
    lengths = torch.tensor([4, 2])
    durations = torch.tensor([[3, 2, 5, 4], [5, 2, 0, 0]])
    together = model.decode(model.encode(phones, lengths), durations)
    alone = model.decode(model.encode(phones[1:, :2], lengths[1:]), durations[1:, :2])
    for quantity in ("mel", "mel_postnet"):
        beside, only = getattr(together, quantity)[1:, :7], getattr(alone, quantity)
        torch.testing.assert_close(beside, only, atol=2e-5, rtol=1e-4)
    for quantity in ("pitch", "energy", "log_duration"):
        beside, only = getattr(together, quantity)[1:, :2], getattr(alone, quantity)
        torch.testing.assert_close(beside, only, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["tiny", "espnet"])
def test_teacher_forced_outputs_do_not_depend_on_it_either(name):
    model = model_of(name)
    phones, lengths = torch.tensor([[2, 1, 3, 4], [4, 1, 0, 0]]), torch.tensor([4, 2])
    durations = torch.tensor([[3, 2, 5, 4], [5, 2, 0, 0]])
    pitch, energy = torch.randn(2, 2, 4) * padding_mask(lengths, 4)
    together = model(phones, lengths, durations, pitch, energy)
    alone = model(phones[1:, :2], lengths[1:], durations[1:, :2], pitch[1:, :2], energy[1:, :2])
    torch.testing.assert_close(
        together.mel_postnet[1:, :7], alone.mel_postnet, atol=2e-5, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"model__norm": "Pre"}, "model.norm=Pre: choose one of pre, post; did you mean pre.$"),
        (
            {"model__positions": "scaled"},
            "model.positions=scaled: choose one of sinusoid, scaled_sinusoid, amplified$",
        ),
        (
            {"model__initialisation": "xavier"},
            "model.initialisation=xavier: choose one of torch, xavier_uniform; did you mean",
        ),
        (
            {"model__ffn__kernels": [4, 1]},
            "has an even kernel of 4: choose an odd one",
        ),
    ],
)
def test_settings_that_name_nothing_are_told(setting, message):
    with pytest.raises(RecipeError, match=message):
        config = changed(composed(), **setting).model
        FastSpeech2(config, vocabulary=len(SYMBOLS))


def test_loss_is_the_published_sum_over_what_is_not_padding():
    lengths, durations = torch.tensor([2, 3]), torch.tensor([[2, 1, 0], [1, 2, 2]])
    mel, predicted, refined = torch.randn(3, 2, 5, 4)
    pitch, energy = torch.randn(2, 2, 3)
    output = FastSpeech2Output(
        predicted, refined, *torch.randn(3, 2, 3), frame_lengths=durations.sum(1)
    )
    loss = fastspeech2_loss(output, mel, durations, pitch, energy, lengths)

    frames = [(b, t) for b in range(2) for t in range(int(durations[b].sum()))]
    phones = [(b, p) for b in range(2) for p in range(int(lengths[b]))]
    mel_sum = sum(
        (x[b, t] - mel[b, t]).abs().mean() for x in (predicted, refined) for b, t in frames
    )
    expected = {
        "mel": mel_sum / len(frames),
        "duration": sum(
            (output.log_duration[i] - torch.log(durations[i] + 1.0)) ** 2 for i in phones
        ) / len(phones),
        "pitch": sum((output.pitch[i] - pitch[i]) ** 2 for i in phones) / len(phones),
        "energy": sum((output.energy[i] - energy[i]) ** 2 for i in phones) / len(phones),
    }  # fmt: skip
    for name, value in expected.items():
        torch.testing.assert_close(getattr(loss, name), value)
    torch.testing.assert_close(loss.total, sum(expected.values()))


def test_each_factor_acts_on_its_own_quantity(tiny):
    synthesiser = Synthesiser(AcousticModel(tiny, STATISTICS), SYMBOLS)
    phones = [synthesiser.indices(["HH", "AH0", "L", "OW1"])]
    plain = synthesiser.synthesise(phones)[0]

    slow = synthesiser.synthesise(phones, speed=0.25)[0]
    encoding = tiny.encode(torch.tensor([[2, 1, 3, 4]]), torch.tensor([4]))
    expected = ((encoding.log_duration.exp() - 1) * 4).round().clamp(min=1)
    assert slow.durations.tolist() == expected[0].tolist()
    torch.testing.assert_close(slow.pitch, plain.pitch)
    torch.testing.assert_close(slow.energy, plain.energy)

    high = synthesiser.synthesise(phones, pitch=2.0)[0]
    torch.testing.assert_close(high.pitch.exp(), plain.pitch.exp() * 2)
    torch.testing.assert_close(high.energy, plain.energy)
    assert high.durations.tolist() == plain.durations.tolist()
    assert not torch.allclose(high.mel, plain.mel)

    loud = synthesiser.synthesise(phones, energy=1.5)[0]
    torch.testing.assert_close(loud.energy, plain.energy * 1.5)
    torch.testing.assert_close(loud.pitch, plain.pitch)
    assert loud.durations.tolist() == plain.durations.tolist()
    assert not torch.allclose(loud.mel, plain.mel)


def test_factors_may_differ_by_phone_and_batches_change_nothing(tiny):
    synthesiser = Synthesiser(AcousticModel(tiny, STATISTICS), SYMBOLS)
    phones = [synthesiser.indices(each.split()) for each in ("HH AH0", "L OW1 sp L")]
    both = synthesiser.synthesise(phones, pitch=[[1.0, 2.0], [1.0] * 4])
    single = synthesiser.synthesise(phones[:1], pitch=[[1.0, 2.0]])[0]
    torch.testing.assert_close(both[0].mel, single.mel, atol=2e-5, rtol=1e-4)
    plain = synthesiser.synthesise(phones[:1])[0]
    ratio = (single.pitch - plain.pitch).exp()
    torch.testing.assert_close(ratio, torch.tensor([1.0, 2.0]))


def test_synthesis_errors_say_what_is_wrong(tiny):
    synthesiser = Synthesiser(AcousticModel(tiny, STATISTICS), SYMBOLS)
    with pytest.raises(RecipeError, match="unknown phone QQ, ZH.*The model knows: AH0 HH"):
        synthesiser.indices(["HH", "ZH", "QQ"])
    with pytest.raises(RecipeError, match="an utterance that has no phones"):
        synthesiser.synthesise([[2], []])
    with pytest.raises(RecipeError, match="speed has to be positive"):
        synthesiser.synthesise([[2]], speed=0.0)
    with pytest.raises(RecipeError, match="pitch has 3 factors for an utterance of 1 phones"):
        synthesiser.synthesise([[2]], pitch=[[1.0, 1.0, 1.0]])
    with pytest.raises(RecipeError, match="pitch has 2 rows of factors for 1 utterances"):
        synthesiser.synthesise([[2]], pitch=[[1.0], [1.0]])
    with pytest.raises(RecipeError, match="unknown phone <pad>"):
        synthesiser.indices(["HH", "<pad>"])
    for wrong in ([2, 0], [2, len(SYMBOLS)], [2, -1]):
        with pytest.raises(RecipeError, match=f"phone indices go from 1 to {len(SYMBOLS) - 1}"):
            synthesiser.synthesise([[2], wrong])
    for factor in (float("inf"), float("nan"), [[float("inf")]]):
        with pytest.raises(RecipeError, match="energy has to be positive and finite"):
            synthesiser.synthesise([[2]], energy=factor)
    assert synthesiser.synthesise([]) == []
