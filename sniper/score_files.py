"""Files of scores that record what the scores were computed from."""

import ctypes
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from numbers import Number
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sniper.scores import Scores


def fingerprint(model: nn.Module, data: Iterable[Any], settings: Mapping[str, Any]) -> dict:
    """Describe what scores depend on: digests of model, weights and data, and the settings.

    Args:
        model: the model in the state in which it is scored. Its buffers count as weights. Which
            of its modules are in train mode is part of the fingerprint, since dropout matters.
        data: what the scores are computed on, in order: utterance ids, or the batches themselves
            (any nesting of tensors, dicts, lists, dataclasses, strings, numbers and None).
        settings: method, number of batches, include, exclude and whatever else matters; values
            that JSON can hold.

    Raises:
        TypeError: the data contain something else.
    """
    state = model.state_dict()
    structure = [str(model), [(n, str(t.dtype), list(t.shape)) for n, t in state.items()]]
    training = [name for name, module in model.named_modules() if module.training]
    return {
        "model structure": _digest(structure),
        "initial weights": _digest(state),
        "data order": _digest(data),
        "train or eval mode": _digest(training),
        **json.loads(json.dumps({f"setting {key!r}": value for key, value in settings.items()})),
    }


def save_scores(path: str | os.PathLike, scores: Scores, fingerprint: Mapping[str, Any]) -> None:
    """Write scores together with the fingerprint of what they were computed from."""
    temporary = Path(f"{path}.{os.getpid()}.tmp")  # renamed once complete, so never half-written
    torch.save({"scores": dict(scores), "fingerprint": dict(fingerprint)}, temporary)
    temporary.replace(path)


def load_scores(path: str | os.PathLike, fingerprint: Mapping[str, Any]) -> Scores:
    """Read scores that `save_scores` has written.

    Raises:
        ValueError: they were computed from something else; the message names what has changed.
    """
    saved = torch.load(path, map_location="cpu", weights_only=True)
    former = saved["fingerprint"]
    parts = [*fingerprint, *(part for part in former if part not in fingerprint)]
    changed = [part for part in parts if fingerprint.get(part) != former.get(part)]
    if changed:
        raise ValueError(
            f"{path}: since these scores were saved, this has changed: {', '.join(changed)}; "
            "delete the file and score again"
        )
    return saved["scores"]


def _digest(value: Any) -> str:
    hasher = hashlib.sha256()

    def feed(value: Any) -> None:
        if isinstance(value, Tensor):
            value = value.detach().cpu().contiguous()
            hasher.update(f"{value.dtype}{tuple(value.shape)}".encode())
            hasher.update(ctypes.string_at(value.data_ptr(), value.nbytes))
        elif value is None or isinstance(value, str | bytes | Number):
            hasher.update(f"{value!r};".encode())
        elif is_dataclass(value) and not isinstance(value, type):
            feed({field.name: getattr(value, field.name) for field in fields(value)})
        elif not isinstance(value, Iterable):  # equal reprs need not mean equal values
            raise TypeError(f"cannot take a fingerprint of {type(value)}")
        else:
            hasher.update(b"[")
            for item in value.items() if isinstance(value, Mapping) else value:
                feed(item)
            hasher.update(b"]")

    feed(value)
    return hasher.hexdigest()
