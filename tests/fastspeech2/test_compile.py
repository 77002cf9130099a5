"""`trainer.compile`: dynamo traces the network as one graph."""

import pytest
import torch
from conftest import changed, composed, section

from fastspeech2.kernels.select import faster_kernels
from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.settings import ModelSettings
from pipeline.errors import RecipeError


@pytest.mark.parametrize("name", ["tiny", "espnet", "ming024"])
def test_the_network_has_no_graph_break(name):
    smaller = {"hidden": 32, "ffn__channels": 48, "encoder_layers": 1, "decoder_layers": 1}
    config = changed(section(ModelSettings, f"model/{name}.yaml"), **smaller)
    model = FastSpeech2(config, vocabulary=12)
    lengths = torch.tensor([5, 3])
    phones = torch.randint(1, 12, (2, 5)) * (torch.arange(5) < lengths[:, None])
    durations = torch.randint(1, 6, (2, 5)) * (phones > 0)
    values = torch.randn(2, 2, 5) * (phones > 0)
    with faster_kernels(frozenset()):
        plan = model.plan(lengths, durations)
        torch._dynamo.reset()
        found = torch._dynamo.explain(model)(phones, lengths, durations, *values, plan=plan)
    reasons = [reason.reason for reason in found.break_reasons]
    assert found.graph_break_count == 0 and found.graph_count == 1, reasons


def test_compiling_the_fast_kernels_is_refused():
    with pytest.raises(RecipeError, match="trainer.compile=true: .* set kernels=plain"):
        composed("trainer.compile=true")
    composed("trainer.compile=true", "kernels=plain")
