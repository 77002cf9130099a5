"""What the loaders of published checkpoints share."""

from collections.abc import Collection, Mapping

from torch import Tensor

from fastspeech2.model.fastspeech2 import FastSpeech2
from pipeline.errors import RecipeError


def load_renamed(
    model: FastSpeech2,
    state_dict: Mapping[str, Tensor],
    names: Mapping[str, str],
    source: str,
    settings: str,
    further: Collection[str] = (),
) -> None:
    """Load tensors that have other names in a published checkpoint.

    Args:
        names: the checkpoint's name of each tensor of the model.
        source: what the checkpoint is of, for messages.
        settings: the files that describe its model, for messages.
        further: names that the checkpoint has besides, which are not loaded.

    Raises:
        RecipeError: the state dict does not fit; names missing and unknown keys, or a tensor of
            another shape.
    """
    expected = {*names.values(), *further}
    missing, unknown = sorted(expected - state_dict.keys()), sorted(state_dict.keys() - expected)
    problems = [f"missing {', '.join(missing)}"] * bool(missing)
    problems += [f"unknown {', '.join(unknown)}"] * bool(unknown)
    if problems:
        raise RecipeError(
            f"the state dict does not fit {source} with these settings: {'; '.join(problems)}"
        )
    for name, value in model.state_dict().items():
        loaded = state_dict[names[name]]
        if loaded.shape != value.shape:
            raise RecipeError(
                f"{names[name]} has shape {list(loaded.shape)} in the checkpoint, but "
                f"{list(value.shape)} according to {settings}: give the files that it was trained "
                "with"
            )
    model.load_state_dict({name: state_dict[published] for name, published in names.items()})
