"""Saved scores that know what they were computed from."""

import ctypes
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sniper.scores import Scores


def fingerprint(model: nn.Module, data: Iterable[Any], settings: Mapping[str, Any]) -> dict:
    """Say what scores depend on, as digests: structure, initial weights, data order, settings.

    Args:
        model: as it is when scored. Buffers count as weights.
        data: what is scored, in order: utterance ids, or the batches themselves (any nesting of
            tensors, dicts, lists, strings and numbers).
        settings: method, number of batches, dropout, include, exclude and whatever else matters;
            anything JSON can hold. They are kept readable.
    """
    state = model.state_dict()
    structure = [str(model)] + [f"{n} {tuple(t.shape)} {t.dtype}" for n, t in state.items()]
    return {
        "model structure": _digest(structure),
        "initial weights": _digest(state),
        "data order": _digest(data),
        "settings": json.loads(json.dumps(dict(settings))),
    }


def save_scores(path: str | os.PathLike, scores: Scores, fingerprint: Mapping[str, Any]) -> None:
    """Write scores with the fingerprint of what they were computed from."""
    temporary = Path(f"{path}.{os.getpid()}.tmp")  # renamed at the end: never half-written
    torch.save({"scores": dict(scores), "fingerprint": dict(fingerprint)}, temporary)
    temporary.replace(path)


def load_scores(path: str | os.PathLike, fingerprint: Mapping[str, Any]) -> Scores:
    """Read scores back.

    Raises:
        ValueError: they were computed from something else; the message names what changed.
    """
    saved = torch.load(path, map_location="cpu", weights_only=True)
    found, changed = saved["fingerprint"], []
    for part, value in fingerprint.items():
        if part != "settings":
            changed += [part] if found.get(part) != value else []
            continue
        for key in sorted(found[part].keys() | value.keys()):
            before, now = found[part].get(key), value.get(key)
            if before != now:
                changed.append(f"setting {key!r} ({before!r} then, {now!r} now)")
    if changed:
        raise ValueError(
            f"{path}: these scores do not fit: {', '.join(changed)} changed since they were "
            "saved; delete the file and score again"
        )
    return saved["scores"]


def _digest(value: Any) -> str:
    hasher = hashlib.sha256()
    _feed(hasher, value)
    return hasher.hexdigest()


def _feed(hasher: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        hasher.update(f"{value.dtype}{tuple(value.shape)}".encode())
        value = value.detach().cpu().contiguous()
        hasher.update(ctypes.string_at(value.data_ptr(), value.nbytes))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            hasher.update(f"{key!r}:".encode())
            _feed(hasher, item)
    elif isinstance(value, str | bytes) or not isinstance(value, Iterable):
        hasher.update(f"{value!r};".encode())
    else:
        hasher.update(b"[")
        for item in value:
            _feed(hasher, item)
        hasher.update(b"]")
