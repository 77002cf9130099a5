"""The scores of the ablations."""

import pytest
import torch
from conftest import section

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.settings import ModelSettings
from fastspeech2.training.scores import flow, scoring


class Module(torch.nn.Module):
    """Holds the model as an attribute, like the module that SniperCallback passes to a score."""

    def __init__(self, name: str):
        super().__init__()
        torch.manual_seed(0)
        self.model = FastSpeech2(section(ModelSettings, f"model/{name}.yaml"), vocabulary=40)


@pytest.fixture(scope="module")
def module():
    return Module("tiny")


def test_random_scores_follow_the_seed_of_the_run(module):
    first, again, other = (scoring("random", seed, {})(module, []) for seed in (1, 1, 2))
    for name in first:
        assert torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name])


def test_synflow_scores_are_weight_times_slope_of_the_summed_outputs(module):
    """Against finite differences, by the weights after the last norm, where nothing is held fixed.

    Their outputs are linear in them, so that a large step is exact.
    """
    scores = scoring("synflow", 0, {})(module, [])
    reference = Module("tiny").eval()
    parameters = dict(reference.named_parameters())
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.abs_()
        for name in ("model.mel_output.weight", "model.pitch_predictor.output.weight"):
            values, score = parameters[name].view(-1), scores[name].flatten()
            for index in score.argsort(descending=True)[:3].tolist():
                weight, sums = float(values[index]), []
                for value in (weight + 1, weight - 1):
                    values[index] = value
                    sums.append(float(flow(reference.model).double().sum()))
                values[index] = weight
                expected = weight * (sums[0] - sums[1]) / 2
                assert float(score[index]) == pytest.approx(expected, rel=1e-3) and expected != 0


@pytest.mark.parametrize("name", ["tiny", "espnet"])
def test_synflow_tells_weights_apart_in_every_model(name):
    module = Module(name)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    scores = scoring("synflow", 0, {})(module, [])
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert not any(each._forward_hooks for each in module.modules())
    values = torch.cat([score.flatten() for score in scores.values()])
    assert values.isfinite().all() and (values > 0).float().mean() > 0.5
