"""A small module and its training, for the tests of the Lightning callback."""

import logging
import random
import warnings

import lightning.pytorch as pl
import torch
from sniper_cases import assert_sparse
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sniper import SparsitySchedule

SCHEDULE = SparsitySchedule.steps({0: 0.4, 3: 0.2, 6: 0.1, 9: 0.0})
DENSE = SparsitySchedule.constant(0)
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Classifier(pl.LightningModule):
    steps = []  # of all modules, in training and in scoring

    def __init__(self, dropout=0.0):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(16, 32), nn.BatchNorm1d(32), nn.Dropout(dropout), nn.ReLU(), nn.Linear(32, 5)
        )
        self.seen, self.losses, self.drawn = [], [], []

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        self.steps.append(batch_idx)
        self.seen.append(batch[0][0, 0].item())
        self.losses.append(loss.item())
        self.drawn.append(random.random())  # as data augmentation does
        return {"loss": loss}

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda u: (u + 1) ** -0.5)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


class Checks(pl.Callback):
    """Checks the model just before and just after every update."""

    def __init__(self):
        self.logged, self.updates = [], []

    def on_before_optimizer_step(self, trainer, module, optimizer):
        for name, mask in trainer.callbacks[0].sniper.masks.items():
            assert not module.get_parameter(name).grad[~mask].any()  # already before clipping

    def on_train_batch_end(self, trainer, module, *_):
        sniper = trainer.callbacks[0].sniper
        assert_sparse(module, trainer.optimizers[0], sniper)
        assert sniper.update == min(trainer.global_step, 9)  # it stops counting once dense
        self.logged.append(float(trainer.callback_metrics["sparsity/nominal"]))


def data():
    generator = torch.Generator().manual_seed(3)
    return TensorDataset(
        torch.randn(64, 16, generator=generator), torch.randint(5, (64,), generator=generator)
    )


def fit(
    tmp_path, callback, updates=12, module=None, others=(), resume=None, loader=None, **options
):
    pl.seed_everything(1, verbose=False)
    module = module or Classifier()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="cpu",
            max_steps=updates,
            callbacks=[callback, *others],
            logger=options.pop("logger", False),
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            default_root_dir=tmp_path,
            **options,
        )
        loader = DataLoader(data(), 64) if loader is None else loader
        trainer.fit(module, loader, ckpt_path=resume)
    return module, trainer
