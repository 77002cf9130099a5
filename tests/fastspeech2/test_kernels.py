"""The faster kernels against plain PyTorch: whole models, forward and backward."""

import pytest
import torch
from conftest import composed, section
from torch import nn

from fastspeech2.kernels import select
from fastspeech2.kernels.select import FASTER, choose_kernels, faster_kernels
from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.settings import ModelSettings
from pipeline.errors import RecipeError

SYMBOLS, MELS = 30, 80
LENGTHS = torch.tensor([12, 9, 30, 4])
CHOICES = {
    "attention": "use_two_matmuls",
    "dropout": "use_drawn_bits",
    "length_groups": "use_length_groups",
    "neighbours": "use_neighbours",
    "padded_rows": "use_padded_rows",
    "toom_cook": "use_toom_cook",
}


def model_of(name: str, dropout: bool = False) -> FastSpeech2:
    torch.manual_seed(0)
    config = section(ModelSettings, f"model/{name}.yaml")
    model = FastSpeech2(config, SYMBOLS, MELS).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout) and not dropout:
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float) and not dropout:
            module.dropout = 0.0
    return model


def outputs_and_gradients(model: FastSpeech2, bfloat16: bool = False) -> torch.Tensor:
    """All outputs of a batch of unequal lengths and all gradients, one vector."""
    generator = torch.Generator().manual_seed(1)
    inside = torch.arange(30) < LENGTHS[:, None]
    phones = torch.randint(1, SYMBOLS, (4, 30), generator=generator) * inside
    durations = torch.randint(1, 9, (4, 30), generator=generator) * inside
    pitch, energy = torch.randn(2, 4, 30, generator=generator)
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        output = model(phones, LENGTHS, durations, pitch, energy)
    parts = (output.mel, output.mel_postnet, output.pitch, output.energy, output.log_duration)
    sum(part.float().square().mean() for part in parts).backward()
    gradients = (p.grad for p in model.parameters() if p.grad is not None)
    return torch.cat([each.detach().flatten().float() for each in (*parts, *gradients)])


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


SLOW = {"padded_rows": pytest.mark.slow}  # in bfloat16, which most CPUs emulate
EACH = [pytest.param(name, marks=SLOW.get(name, ())) for name in sorted(FASTER)]


@pytest.mark.parametrize("name", ["tiny", "espnet", "ming024"])
def test_faster_kernels_compute_the_same(name):
    model = model_of(name)
    fast = outputs_and_gradients(model)
    with faster_kernels(frozenset()):
        plain = outputs_and_gradients(model)
    assert distance(fast, plain) < 2e-5
    assert not torch.equal(fast, plain), "both ran the same kernels"


@pytest.mark.parametrize("name", EACH)
def test_each_kernel_alone_computes_the_same(name):
    """In bfloat16 if only that precision uses the kernel."""
    model, bfloat16 = model_of("espnet"), name == "padded_rows"
    with faster_kernels(frozenset()):
        plain = outputs_and_gradients(model, bfloat16)
    with faster_kernels(frozenset([name])):
        alone = outputs_and_gradients(model, bfloat16)
    assert distance(alone, plain) < (0.02 if bfloat16 else 2e-5)


@pytest.mark.parametrize("name", EACH)
def test_each_kernel_can_be_switched_off(name, monkeypatch):
    """Each is used by the model `espnet` when it is on, and never when it is off."""
    answers: list[bool] = []
    asked = getattr(select, CHOICES[name])

    def recorded(*arguments):
        answers.append(asked(*arguments))
        return answers[-1]

    monkeypatch.setattr(select, CHOICES[name], recorded)
    model = model_of("espnet", dropout=True)
    outputs_and_gradients(model, bfloat16=name == "padded_rows")
    assert any(answers)
    answers.clear()
    with faster_kernels(FASTER - {name}):
        outputs_and_gradients(model, bfloat16=name == "padded_rows")
    assert answers and not any(answers)


def test_the_setting_is_followed_and_checked():
    assert composed().kernels == "fast"
    with faster_kernels(FASTER):
        choose_kernels("plain")
        assert not select.use_neighbours(torch.zeros(1))
        choose_kernels("fast")
        assert select.use_neighbours(torch.zeros(1))
    with pytest.raises(RecipeError, match="kernels=quick: choose one of fast, plain"):
        composed("kernels=quick")
