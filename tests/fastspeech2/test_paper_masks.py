"""`sparsity.masks=paper`: the masks of the paper's code in trainings of its five systems."""

import numpy as np
import pytest
from conftest import composed

from fastspeech2.training.mask_files import read_masks
from fastspeech2.training.train import train
from pipeline.files import read_json
from sniper import global_masks
from sniper.integrations import lightning as integration

SYSTEMS = {
    "dense": ["sparsity=dense"],
    "constant 20": ["sparsity=constant", "sparsity.start=0.2"],
    "constant 40": ["sparsity=constant", "sparsity.start=0.4"],
    "decaying 20": ["sparsity=decaying", "sparsity.start=0.2"],
    "decaying 40": ["sparsity=decaying", "sparsity.start=0.4"],
}


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_masks_are_those_of_the_papers_code(system, prepared, tmp_path, monkeypatch):
    scored = {}

    def spy(*arguments, **options):
        scored.update(scores=snip_scores(*arguments, **options), options=options)
        return scored["scores"]

    snip_scores = integration.snip_scores
    monkeypatch.setattr(integration, "snip_scores", spy)
    sparse = [] if system == "dense" else ["sparsity.masks=paper", "sparsity.scoring_batches=2"]
    shorter = ["trainer.updates=50", "trainer.val_every=50", "samples=0", "logger=none"]
    config = composed(*prepared, *SYSTEMS[system], *sparse, *shorter, f"paths.run={tmp_path}")
    train(config)
    files = sorted((tmp_path / "train" / "masks").glob("*.npz"))
    if system == "dense":
        assert not files and not scored
        return
    assert scored["options"]["compat"] == "reference"
    switches = read_json(tmp_path / "train" / "sparsity.json")
    assert [int(path.stem) for path in files] == [switch["update"] for switch in switches]
    for path, switch in zip(files, switches, strict=True):
        wanted = global_masks(scored["scores"], switch["nominal"], cap=0.75, compat="reference")
        masks = read_masks(path)
        assert masks.keys() == wanted.keys()
        assert all(np.array_equal(masks[name], mask.numpy()) for name, mask in wanted.items())
    levels = {"constant": 1, "decaying 20": 3, "decaying 40": 4}
    assert len(switches) == levels.get(system, 1)
