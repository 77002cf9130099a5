"""Trainers and optimizers of other frameworks, each by its own code."""

import copy
import multiprocessing

import pytest
import torch
from sniper_cases import cross_entropy, small_batches, small_model, train
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.optim import ZeroRedundancyOptimizer

from sniper import Sniper, SparsitySchedule, magnitude_scores

SCHEDULE = SparsitySchedule.steps({0: 0.6, 3: 0.3, 6: 0.0})
BATCHES = small_batches(8)


def assert_masked(model, sniper):
    for name, mask in sniper.masks.items():
        assert not model.get_parameter(name).detach()[~mask].any()


def plainly_trained(make):
    """The weights after 8 updates of an ordinary loop."""
    model = small_model()
    optimizer = make(model.parameters())
    Sniper(model, optimizer, magnitude_scores(model), SCHEDULE)
    train(model, optimizer, BATCHES)
    return list(model.parameters())


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# ---- Hugging Face

transformers = pytest.importorskip("transformers")


class WithLoss(nn.Module):
    """What the Trainer trains: a model that returns its loss."""

    def __init__(self, seed=0):
        super().__init__()
        self.net = small_model(seed)

    def forward(self, x, labels):
        return {"loss": cross_entropy(self.net, (x, labels))}


def hugging_face(folder, seed=0, updates=8, schedule=SCHEDULE, scores=True, callback=True):
    from sniper.integrations.transformers import SniperTrainerCallback

    pytest.importorskip("accelerate")
    model = WithLoss(seed)
    rows = [{"x": x, "labels": y} for batch in BATCHES for x, y in zip(*batch, strict=True)]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), max_steps=updates, save_steps=2, logging_steps=2, seed=3,
        per_device_train_batch_size=12, learning_rate=0.01, report_to=[], use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    given = magnitude_scores(model) if scores else None
    callbacks = [SniperTrainerCallback(schedule, given, cap=0.9)] if callback else []
    trainer = transformers.Trainer(model, arguments, train_dataset=rows, callbacks=callbacks)
    return model, trainer, callbacks[0] if callback else None


@pytest.mark.parametrize("stop", [2, 4])
def test_the_trainer_of_transformers_resumes_bit_equal(tmp_path, stop):
    model, trainer, callback = hugging_face(tmp_path / "whole")
    trainer.train()
    assert [switch.update for switch in callback.sniper.record] == [0, 3, 6]
    assert not trainer.optimizer.optimizer._optimizer_step_pre_hooks
    resumed, trainer, again = hugging_face(tmp_path / "resumed", seed=9, scores=False)
    trainer.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{stop}"))
    assert equal(model.parameters(), resumed.parameters())
    assert again.sniper.record == callback.sniper.record


def test_the_callback_of_transformers_refuses_what_cannot_be_right(tmp_path):
    from sniper.integrations.transformers import SniperTrainerCallback

    _, trainer, _ = hugging_face(tmp_path / "unscored", scores=False)
    with pytest.raises(ValueError, match="needs the scores of the untrained model"):
        trainer.train()
    _, trainer, _ = hugging_face(tmp_path / "dense", callback=False)
    trainer.train()
    _, trainer, _ = hugging_face(tmp_path / "later")
    with pytest.raises(ValueError, match="update 4 was trained without SniperTrainerCallback"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "dense" / "checkpoint-4"))
    with pytest.raises(ValueError, match="cap is a fraction"):
        SniperTrainerCallback(SCHEDULE, cap=2.0)
    with pytest.raises(TypeError, match="unexpected keyword"):
        SniperTrainerCallback(SCHEDULE, capp=0.5)


def test_accelerate(tmp_path):
    accelerate = pytest.importorskip("accelerate")

    def built(seed, scores):
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
        model = small_model(seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        model, optimizer = accelerator.prepare(model, optimizer)
        scores = magnitude_scores(model) if scores else None
        sniper = Sniper(model, optimizer, scores, SCHEDULE)
        accelerator.register_for_checkpointing(sniper)
        return accelerator, model, optimizer, sniper

    def trained(parts, batches):
        accelerator, model, optimizer, sniper = parts
        for batch in batches:
            with accelerator.accumulate(model):
                accelerator.backward(cross_entropy(model, batch))
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            assert_masked(model, sniper)

    whole = built(0, True)
    trained(whole, BATCHES[:4])
    assert whole[3].update == 2
    whole[0].save_state(str(tmp_path / "state"))
    resumed = built(5, False)
    resumed[0].load_state(str(tmp_path / "state"))
    for parts in (whole, resumed):
        trained(parts, BATCHES[4:])
        assert parts[3].update == 4 and parts[3].sparsity == 0.3
    assert equal(whole[1].parameters(), resumed[1].parameters())


# ---- torch.distributed


def in_two_processes(target, folder):
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=target, args=(rank, folder)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]


def begin(rank, folder):
    torch.set_num_threads(1)
    method = f"file://{folder}/rendezvous"
    torch.distributed.init_process_group("gloo", init_method=method, rank=rank, world_size=2)


def sharded(rank, folder):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    begin(rank, folder)
    mesh = init_device_mesh("cpu", (2,))
    for shard in (
        lambda m: fully_shard(m, mesh=mesh),
        lambda m: parallelize_module(m, mesh, {"3": ColwiseParallel()}),
    ):
        model = small_model()
        scores = magnitude_scores(model)
        shard(model)
        before = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
        with pytest.raises(ValueError, match=r"3\.weight is sharded over devices"):
            Sniper(model, torch.optim.SGD(model.parameters(), lr=0.1), scores, SCHEDULE)
        after = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
        assert equal(before, after)


def redundancy(rank, folder):
    begin(rank, folder)
    model = nn.parallel.DistributedDataParallel(small_model())
    optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=0.01)
    sniper = Sniper(model, optimizer, magnitude_scores(model), SCHEDULE)
    for batch in BATCHES:
        train(model, optimizer, [batch])
        assert_masked(model.module, sniper)
    assert sniper.update == 6
    expected = plainly_trained(lambda p: torch.optim.AdamW(p, lr=0.01))
    for a, b in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("target", [sharded, redundancy])
def test_two_processes(tmp_path, target):
    in_two_processes(target, tmp_path)


def test_the_distributed_checkpoint_resumes_bit_equal():
    def built(seed, scores):
        model = small_model(seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        scores = magnitude_scores(model) if scores else None
        return model, optimizer, Sniper(model, optimizer, scores, SCHEDULE)

    whole = built(0, True)
    train(*whole[:2], BATCHES[:4])
    states = copy.deepcopy((*get_state_dict(*whole[:2]), whole[2].state_dict()))
    resumed = built(7, False)
    resumed[2].load_state_dict(states[2])
    set_state_dict(*resumed[:2], model_state_dict=states[0], optim_state_dict=states[1])
    assert resumed[2].update == 4
    for parts in (whole, resumed):
        train(*parts[:2], BATCHES[4:])
        assert parts[2].update == 6
    assert equal(whole[0].parameters(), resumed[0].parameters())


# ---- a trainer like ESPnet's


def espnet_trainer(model, optimizer, batches, accum_grad=2, grad_clip=1.0, scaler=None):
    """The shape of ESPnet's `Trainer.train_one_epoch`: accumulation, a scaler, skipped updates."""
    for number, batch in enumerate(batches, 1):
        loss = cross_entropy(model, batch) / accum_grad
        (scaler.scale(loss) if scaler else loss).backward()
        if number % accum_grad == 0:
            if scaler:
                scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
            if not torch.isfinite(norm):
                if scaler:
                    scaler.step(optimizer)
                    scaler.update()
            elif scaler:
                scaler.step(optimizer)
                scaler.update()
            else:
                optimizer.step()
            optimizer.zero_grad()


def attach(model, optimizer, schedule, scores):
    """As in sniper/README.md: the state rides in the optimizer's."""
    sniper = Sniper(model, optimizer, scores, schedule)
    optimizer.register_state_dict_post_hook(
        lambda o, state: state | {"sniper": sniper.state_dict()}
    )
    optimizer.register_load_state_dict_pre_hook(
        lambda o, state: sniper.load_state_dict(state["sniper"]) if "sniper" in state else None
    )
    return sniper


@pytest.mark.parametrize("scaled", [False, True])
def test_a_trainer_like_espnets(scaled):
    def built(seed, scores):
        model = small_model(seed)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        scores = magnitude_scores(model) if scores else None
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0) if scaled else None
        return model, optimizer, attach(model, optimizer, SCHEDULE, scores), scaler

    whole = built(0, True)
    bad = BATCHES[0][0].clone().fill_(float("inf")), BATCHES[0][1]
    espnet_trainer(*whole[:2], [*BATCHES, bad, bad], scaler=whole[3])
    assert whole[2].update == 4 and whole[2].sparsity == 0.3
    assert_masked(whole[0], whole[2])
    resumed = built(3, False)
    resumed[0].load_state_dict(copy.deepcopy(whole[0].state_dict()))
    resumed[1].load_state_dict(copy.deepcopy(whole[1].state_dict()))
    if scaled:
        resumed[3].load_state_dict(whole[3].state_dict())
    for parts in (whole, resumed):
        espnet_trainer(*parts[:2], BATCHES, scaler=parts[3])
        assert parts[2].update == 6 and parts[2].sparsity == 0.0
    assert equal(whole[0].parameters(), resumed[0].parameters())
