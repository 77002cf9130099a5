"""Try `sniper` with the optimizers of third parties, and write a table into sniper/README.md.

`pip install pytorch_optimizer torch_optimizer schedulefree prodigyopt` first; packages that are
missing are left out. The training of a small model falls and rises in sparsity, is stopped and
resumed. Each optimizer is clean, told (a warning), or refused (an error at attachment). Anything
else is a fault.
"""

import copy
import importlib.util
import inspect
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from sniper import Sniper, SparsitySchedule, magnitude_scores
from sniper.optimizers import chain_of, states_of

PACKAGES = ("torch.optim", "pytorch_optimizer", "torch_optimizer", "schedulefree", "prodigyopt")
SCHEDULE = SparsitySchedule.steps({0: 0.5, 4: 0.2, 7: 0.6, 10: 0.3})
UPDATES, STOP = 12, 5
README = Path(__file__).resolve().parents[1] / "sniper" / "README.md"
BEGIN, END = "<!-- optimizers: written by scripts/third_party_optimizers.py -->", "<!-- end -->"
Make = Callable[[nn.Module], torch.optim.Optimizer]


def build_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))


def optimizers() -> Iterator[tuple[str, Make]]:
    """Yield names of optimizer classes that take parameters and a rate, and how to make them."""
    for package in PACKAGES:
        try:
            module = importlib.import_module(package)
        except ImportError:
            continue
        classes = {
            value.__name__: value
            for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer)
        }
        for name, kind in sorted(classes.items()):
            for wraps in (False, True):
                make = _maker(kind, wraps)
                try:
                    _train(build_model(), make, range(2))
                except Exception:  # noqa: BLE001 - it wants other arguments, or other models
                    continue
                yield f"{package}.{name}", make
                break


def _maker(kind: type, wraps: bool) -> Make:
    """Return a function that makes an optimizer of parameters, or around an AdamW."""

    def make(model: nn.Module) -> torch.optim.Optimizer:
        torch.manual_seed(0)
        if wraps:
            optimizer = kind(torch.optim.AdamW(model.parameters(), lr=1e-2))
        else:
            optimizer = kind(list(model.parameters()), lr=1e-2)
        if hasattr(optimizer, "train"):
            optimizer.train()
        return optimizer

    return make


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    torch.manual_seed(number)
    x, y = torch.randn(16, 6), torch.randint(4, (16,))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    closure()
    optimizer.step()


def _train(model: nn.Module, make: Make, updates: range) -> torch.optim.Optimizer:
    optimizer = make(model)
    for number in updates:
        _update(model, optimizer, number)
    return optimizer


def faults(make: Make, resumes: bool, attached: list[Sniper]) -> list[str]:
    """Train with a `Sniper`, and return all that is wrong.

    Args:
        resumes: whether to try a resume.
        attached: where the `Sniper` is put, unless it refuses the optimizer.
    """
    found: list[str] = []
    model = build_model()
    optimizer = make(model)
    sniper = Sniper(model, optimizer, magnitude_scores(model), SCHEDULE)
    attached.append(sniper)
    saved: list[dict] = []
    for number in range(UPDATES):
        _update(model, optimizer, number)
        if sniper.update != number + 1:
            return [f"update {number + 1} counted as {sniper.update}"]
        for name, mask in sniper.masks.items():
            if model.get_parameter(name).detach()[~mask].any():
                found.append(f"masked weights of {name} are not 0")
            for kind, state in states_of(chain_of(optimizer), model.get_parameter(name)):
                masked = state[~mask]
                if kind in ("moment", "copy") and masked.numel() and (masked != masked[0]).any():
                    found.append(f"a {kind} of masked weights is not that of an unused weight")
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            return ["weights are not finite"]
        if resumes and number + 1 == STOP:
            parts = model, optimizer, sniper
            saved = copy.deepcopy([part.state_dict() for part in parts])
    if not resumes:
        return found
    resumed = build_model(1)
    again = make(resumed)
    parts = resumed, again, Sniper(resumed, again, None, SCHEDULE)
    for part, state in zip(parts, saved, strict=True):
        part.load_state_dict(state)
    for number in range(STOP, UPDATES):
        _update(resumed, again, number)
    if any(not torch.equal(a, b) for a, b in zip(*_parameters(model, resumed), strict=True)):
        found.append("resumed weights differ")
    return found


def _parameters(*models: nn.Module) -> Iterator[Iterator[nn.Parameter]]:
    return (model.parameters() for model in models)


def resumes_without_sniper(make: Make) -> bool:
    """Whether a dense training with this optimizer resumes bit-equal."""
    whole, resumed = build_model(), build_model(1)
    first = _train(whole, make, range(STOP))
    second = make(resumed)
    resumed.load_state_dict(whole.state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for number in range(STOP, UPDATES):
        _update(whole, first, number)
        _update(resumed, second, number)
    return all(torch.equal(a, b) for a, b in zip(*_parameters(whole, resumed), strict=True))


def outcome(make: Make) -> str:
    """Return what comes of an optimizer, in a few words."""
    try:
        resumes = resumes_without_sniper(make)
    except Exception:  # noqa: BLE001 - it cannot be saved or loaded
        resumes = False
    attached: list[Sniper] = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = faults(make, resumes, attached)
        except Exception as error:  # noqa: BLE001 - a fault to be printed
            if not attached and isinstance(error, ValueError):
                return f"refused: {error}"
            found = [f"{type(error).__name__}: {error}"]
    own = [str(each.message) for each in told if "sniper" in each.filename]
    if found and not any("has failed in its first step" in each for each in own):
        return "FAULT: " + "; ".join(dict.fromkeys(found))
    return f"told: {own[0]}" if own else "clean"


def table() -> str:
    """Return the table in Markdown: optimizers by what comes of them."""
    names: dict[str, dict[str, list[str]]] = {}
    for name, make in optimizers():
        kind, _, message = " ".join(outcome(make).split()).partition(": ")
        message = message.replace(name.split(".")[-1], "…")  # alike for all of them
        names.setdefault(kind, {}).setdefault(message.split("; ")[0][:150], []).append(name)
        print(f"{name}: {kind} {message}", flush=True)
    counts = {kind: sum(map(len, each.values())) for kind, each in names.items()}
    versions = [f"{p.split('.')[0]} {version(p.split('.')[0])}" for p in PACKAGES if _is_there(p)]
    total = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    rows = [
        f"| {kind} | {', '.join(each)} | {message.replace('|', chr(92) + '|')} |"
        for kind in sorted(names.keys() - {"clean"})
        for message, each in sorted(names[kind].items())
    ]
    head = f"Of {sum(counts.values())} in {', '.join(versions)}: {total}."
    return "\n".join([head, "", "| | optimizers | message |", "|---|---|---|", *rows])


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package.split(".")[0]) is not None


def main() -> None:
    torch.set_num_threads(1)
    before, rest = README.read_text().split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    main()
