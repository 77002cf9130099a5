"""The real corpus through the real stages, once for all tests that need it."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
TEXTGRIDS = PROJECT / "tests" / "data" / "allison_textgrids.zip"
"""Stage 2's result on the whole corpus by `aligner=viter`, which takes half a minute to make."""


def run_script(name: str, *overrides: str, **options) -> subprocess.CompletedProcess:
    """Run a stage script as its user does."""
    return subprocess.run(
        [sys.executable, f"scripts/{name}.py", *overrides],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        **options,
    )


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> list[str]:
    """Stages 1 to 3 on corpus `allison`: the overrides by which later stages find its features."""
    folder = tmp_path_factory.mktemp("allison")
    overrides = [
        f"paths.data={folder}",
        # Downloads are shared with `make demo`: they are verified by checksum each time.
        "paths.downloads=data/allison/downloads",
        "aligner=textgrid",
        f"aligner.source={TEXTGRIDS}",
    ]
    for stage in ("stage1_download", "stage2_align", "stage3_features"):
        result = run_script(stage, *overrides)
        assert result.returncode == 0, f"{stage}:\n{result.stdout}{result.stderr}"
    return overrides
