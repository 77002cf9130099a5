"""A training step never waits for the device: proved without a GPU.

Under `FakeTensorMode` on `cuda:0`, reading any value is an error, and so is an operation on tensors
of different devices. Autograd refuses to run backward there without a GPU, so the backward pass
runs on the device `meta`, where reading a value is an error too.
"""

from copy import deepcopy

import pytest
import torch
from conftest import section
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.packing import map_tensors
from fastspeech2.settings import ModelSettings
from fastspeech2.training.data import Batch
from fastspeech2.training.loss import fastspeech2_loss
from sniper import Sniper, SparsitySchedule, magnitude_scores

SYMBOLS, MELS = 20, 80
MODELS = ("tiny", "espnet", "ming024")


def model_of(name: str) -> FastSpeech2:
    torch.manual_seed(0)
    config = section(ModelSettings, f"model/{name}.yaml")
    return FastSpeech2(config, SYMBOLS, MELS)


def batch_for(model: FastSpeech2) -> Batch:
    """Two utterances of different lengths, planned on the CPU."""
    lengths = torch.tensor([5, 3])
    inside = torch.arange(5) < lengths[:, None]
    durations = torch.tensor([[2, 3, 1, 4, 2], [3, 3, 3, 0, 0]])
    return Batch(
        ids=["one", "two"],
        phones=torch.randint(1, SYMBOLS, (2, 5)) * inside,
        phone_lengths=lengths,
        durations=durations,
        pitch=torch.randn(2, 5),
        energy=torch.randn(2, 5),
        mel=torch.randn(2, 12, MELS),
        plan=model.plan(lengths, durations),
    )


def loss_of(model: FastSpeech2, batch: Batch) -> Tensor:
    inputs = (batch.phones, batch.phone_lengths, batch.durations, batch.pitch, batch.energy)
    targets = (batch.mel, batch.durations, batch.pitch, batch.energy, batch.phone_lengths)
    return fastspeech2_loss(model(*inputs, plan=batch.plan), *targets).total


def update(model: FastSpeech2, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """What FastSpeech2Module and FiniteWatch do after the backward pass."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
    optimizer.found_inf = 1.0 - (loss.detach() + norm).isfinite().float()
    optimizer.step()


@pytest.mark.parametrize("name", MODELS)
def test_forward_and_update_on_a_fake_gpu(name):
    """Forward, loss, clipping, the optimizer and an ordinary update of Sniper."""
    model = model_of(name)
    batch = batch_for(model)
    schedule = SparsitySchedule.steps({0: 0.4, 5: 0.0})
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    masked = Sniper(model, optimizer, magnitude_scores(model), schedule, cap=0.75).state_dict()

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        with torch.device("cuda:0"):
            fake = model_of(name)
        on_gpu = map_tensors(batch, lambda tensor: mode.from_tensor(tensor).to("cuda:0"))
        optimizer = torch.optim.AdamW(fake.parameters(), fused=True)
        sniper = Sniper(fake, optimizer, None, schedule, cap=0.75)
        sniper.load_state_dict(masked)
        loss = loss_of(fake, on_gpu)
        assert loss.device == torch.device("cuda:0")
        for parameter in fake.parameters():
            parameter.grad = torch.zeros_like(parameter)
        update(fake, optimizer, loss)
        assert sniper.update == 1
        with pytest.raises(DataDependentOutputException):
            bool(loss > 0)  # the proof's premise


@pytest.mark.parametrize("name", MODELS)
def test_backward_on_meta(name):
    model = model_of(name)
    batch = map_tensors(batch_for(model), lambda tensor: tensor.to("meta"))
    model = deepcopy(model).to("meta")
    loss = loss_of(model, batch)
    loss.backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in trained)
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(loss > 0)
