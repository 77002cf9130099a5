"""What a training shows of itself while it goes on."""

from types import SimpleNamespace

import torch

from fastspeech2.mask_files import read_masks
from fastspeech2.monitoring import MaskFiles
from sniper import Sniper, SparsitySchedule, magnitude_scores


def test_the_first_process_alone_writes_masks(tmp_path):
    model = torch.nn.Linear(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sniper = Sniper(model, optimizer, magnitude_scores(model), SparsitySchedule.constant(0.5))
    for first in (False, True):
        files = MaskFiles(tmp_path / str(first), SimpleNamespace(sniper=sniper))
        files.on_train_start(SimpleNamespace(is_global_zero=first), model)
    assert [path.name for path in tmp_path.iterdir()] == ["True"]
    assert read_masks(tmp_path / "True" / "00000000.npz")["weight"].mean() == 0.5
