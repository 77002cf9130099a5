"""Digests of files and of settings."""

import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf


def fingerprint(*parts: Any) -> str:
    """Hex digest of configuration nodes, plain values and other fingerprints, in order."""
    plain = [
        OmegaConf.to_container(part, resolve=True)
        if isinstance(part, DictConfig | ListConfig)
        else part
        for part in parts
    ]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def sha256(path: Path | str) -> str:
    """Hex digest of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
