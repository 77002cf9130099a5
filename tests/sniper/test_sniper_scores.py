import warnings

import pytest
import torch
from sniper_cases import cross_entropy, reference_case, small_batches, small_model
from torch import nn

from sniper import (
    Sniper,
    SparsitySchedule,
    grasp_scores,
    magnitude_scores,
    random_scores,
    snip_scores,
    synflow_scores,
)


def test_snip_is_the_derivative_of_the_loss_by_the_mask():
    """Compare with central differences of Σ_b L_b as one entry of an all-ones mask changes."""
    model, batches, _ = reference_case()
    model = model.double()
    batches = [(x.double(), y) for x, y in batches]
    scores = snip_scores(model, cross_entropy, batches)

    @torch.no_grad()
    def loss(weight, position, mask_value):
        kept = weight[position].item()
        weight[position] = kept * mask_value
        total = sum(cross_entropy(model, batch).item() for batch in batches)
        weight[position] = kept
        return total

    generator, step = torch.Generator().manual_seed(0), 1e-5
    for name, weight in model.named_parameters():
        for _ in range(12 if name in scores else 0):
            position = tuple(
                int(torch.randint(size, (), generator=generator)) for size in weight.shape
            )
            slope = (loss(weight, position, 1 + step) - loss(weight, position, 1 - step)) / 2 / step
            assert scores[name][position].item() == pytest.approx(abs(slope), rel=1e-6, abs=1e-9)


def test_absolute_sums_magnitudes():
    model, batches = small_model(), small_batches(4)
    signed = snip_scores(model, cross_entropy, batches)
    absolute = snip_scores(model, cross_entropy, batches, absolute=True)
    single = [snip_scores(model, cross_entropy, [batch]) for batch in batches]
    for name in signed:
        torch.testing.assert_close(absolute[name], sum(score[name] for score in single))
        assert (absolute[name] >= signed[name] - 1e-7).all()
        assert (absolute[name] > signed[name] + 1e-4).any()  # signs cancel in some


class Busy(nn.Module):
    """Has batch statistics, dropout, a replaced buffer, mixed modes and an existing gradient."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.out = nn.Linear(8, 3)
        self.spare = nn.Linear(2, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.spare.eval()
        self.out.weight.grad = torch.ones_like(self.out.weight)

    def forward(self, x):
        self.calls = self.calls + 1
        return self.out(self.net(x))


def busy_batches():
    return [(x[:, 0, :6], y % 3) for x, y in small_batches(3)]


@pytest.mark.parametrize(
    "score",
    [
        lambda m: snip_scores(m, cross_entropy, busy_batches()),
        lambda m: grasp_scores(m, cross_entropy, busy_batches()),
        lambda m: synflow_scores(m, lambda m: m(torch.ones(2, 6))),
        lambda m: magnitude_scores(m),
        lambda m: random_scores(m),
    ],
    ids=["snip", "grasp", "synflow", "magnitude", "random"],
)
@pytest.mark.filterwarnings("ignore:not used in the loss")
def test_model_is_left_exactly_as_found(score):
    model = Busy()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    buffers = {name: id(buffer) for name, buffer in model.named_buffers()}
    modes = {name: module.training for name, module in model.named_modules()}
    gradients = {name: p.grad for name, p in model.named_parameters()}
    random_state = torch.get_rng_state()
    score(model)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert {name: id(buffer) for name, buffer in model.named_buffers()} == buffers
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert {name: p.grad for name, p in model.named_parameters()} == gradients
    assert torch.equal(torch.get_rng_state(), random_state)


def test_model_is_left_as_found_after_an_error():
    model = Busy()
    with pytest.raises(ValueError, match="scalar"):
        snip_scores(model, lambda m, b: m(b[0]), busy_batches(), dropout=False)
    assert model.calls == 0 and model.net[2].training
    with pytest.raises(ZeroDivisionError):
        synflow_scores(model, lambda m: 1 / 0)
    assert (model.out.weight < 0).any() and model.training


def test_the_caller_chooses_dropout():
    model = Busy()
    model.net[1] = nn.Identity()
    kept = {name: p for name, p in model.named_parameters() if "spare" not in name}
    options = {"exclude": ["spare.*"]}
    off = snip_scores(model, cross_entropy, busy_batches(), dropout=False, **options)
    model.eval()
    evaluated = snip_scores(model, cross_entropy, busy_batches(), **options)
    on = snip_scores(model, cross_entropy, busy_batches(), dropout=True, **options)
    for name in off:
        assert torch.equal(off[name], evaluated[name]) and name in kept
    assert not torch.equal(on["out.weight"], off["out.weight"])


def test_parameter_outside_the_loss_scores_zero_and_is_named():
    model = Busy()
    with pytest.warns(UserWarning, match=r"so scored 0: spare\.weight"):
        scores = snip_scores(model, cross_entropy, busy_batches())
    assert not scores["spare.weight"].any()


def test_scores_that_are_not_finite_are_named():
    model = small_model()
    with torch.no_grad():
        model[3].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"0\.weight, 3\.weight, 5\.weight"):
        snip_scores(model, cross_entropy, small_batches(1))
    with pytest.raises(ValueError, match=r"NaN or infinite in 3\.weight$"):
        magnitude_scores(model)


def test_no_batches_is_an_error():
    with pytest.raises(ValueError, match="no batches"):
        snip_scores(small_model(), cross_entropy, [])


def test_tied_weight_is_scored_once_by_all_its_uses():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 4, bias=False))
    model[2].weight = model[0].weight
    x = torch.randn(5, 4)
    scores = snip_scores(model, lambda m, b: m(b).square().sum(), [x])
    assert list(scores) == ["0.weight"]
    model(x).square().sum().backward()
    expected = (model[0].weight * model[0].weight.grad).abs()
    torch.testing.assert_close(scores["0.weight"], expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    model = small_model()
    batches = small_batches(3)
    expected = snip_scores(model, cross_entropy, batches)
    model = model.to(dtype)
    scores = snip_scores(model, cross_entropy, [(x.to(dtype), y) for x, y in batches])
    for name, score in scores.items():
        assert score.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(score.float(), expected[name], rtol=0.1, atol=0.02)


def test_small_terms_do_not_vanish_in_half_precision():
    """Float16 can represent these weights and gradients, but not their products."""
    model = nn.Linear(3, 1, bias=False).half()
    nn.init.constant_(model.weight, 2.0**-10)
    x = torch.tensor([2.0**-10, 2.0**-20, 2.0**-24]).half()
    scores = snip_scores(model, lambda m, x: (m.weight * x).sum(), [x, x])
    assert scores["weight"].tolist() == [[2.0**-19, 2.0**-29, 2.0**-33]]


def test_scoring_a_model_in_training_does_not_touch_its_gradients_or_masks():
    model, batches = small_model(), small_batches(2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scores = snip_scores(model, cross_entropy, batches)
    Sniper(model, optimizer, scores, SparsitySchedule.constant(0.5))
    again = snip_scores(model, cross_entropy, batches)
    assert all(p.grad is None for p in model.parameters())
    assert all(score.shape == scores[name].shape for name, score in again.items())


def test_grasp_is_weight_times_hessian_times_gradient():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    batches = [(x[:, 0, :3].double(), y % 2) for x, y in small_batches(3)]
    scores = grasp_scores(model, cross_entropy, batches)
    shapes = {name: score.shape for name, score in scores.items()}
    weights = dict(model.named_parameters())

    def loss(flat):
        split = flat.split([shape.numel() for shape in shapes.values()])
        named = {n: v.view(s) for (n, s), v in zip(shapes.items(), split, strict=True)}
        biases = {n: p.detach() for n, p in weights.items() if n not in shapes}
        outputs = [torch.func.functional_call(model, named | biases, (x,)) for x, _ in batches]
        return sum(
            nn.functional.cross_entropy(o, y) for o, (_, y) in zip(outputs, batches, strict=True)
        )

    flat = torch.cat([weights[name].detach().flatten() for name in shapes])
    gradient = torch.autograd.functional.jacobian(loss, flat)
    expected = flat * (torch.autograd.functional.hessian(loss, flat) @ gradient)
    found = torch.cat([score.flatten() for score in scores.values()])
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_synflow_of_a_linear_network_in_closed_form():
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    scores = synflow_scores(model, lambda m: m(torch.ones(1, 3)))
    first, second = (layer.weight.detach().abs() for layer in model)
    torch.testing.assert_close(scores["0.weight"], first * second.sum(0)[:, None])
    torch.testing.assert_close(scores["1.weight"], second * first.sum(1)[None])
    # The paper's conservation law: the flow through every layer is the same.
    torch.testing.assert_close(scores["0.weight"].sum(), scores["1.weight"].sum())


def test_random_scores_depend_on_the_seed_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, again = random_scores(small_model(0), seed=4), random_scores(small_model(1), seed=4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["3.weight"], random_scores(small_model(), seed=5)["3.weight"])
