import torch
from sniper_cases import cross_entropy, small_batches, small_model, train
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from sniper import Sniper, SparsitySchedule, prunable_parameters, random_scores, snip_scores

SCHEDULE = SparsitySchedule.steps({0: 0.5, 3: 0.2, 5: 0.4})


def trained(model, batches):
    """Train; return the masks after each update and the weights at the end."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scores = snip_scores(model, cross_entropy, batches[:2])
    sniper = Sniper(model, optimizer, scores, SCHEDULE, cap=0.9)
    history = [sniper.masks]
    for batch in batches:
        train(model, optimizer, [batch], clip=0.5)
        history.append(sniper.masks)
    return {"scores": scores, "masks": history, "weights": model.state_dict()}


def half(batch, rank):
    return tuple(part[rank * 6 : rank * 6 + 6] for part in batch)


def worker(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    model = DistributedDataParallel(small_model())
    batches = small_batches(7)
    # There are more processes than batches, so process 0 scores no batch.
    unequal = snip_scores(model, cross_entropy, batches[:1] if rank else [])
    refused = small_model()
    optimizer = torch.optim.SGD(refused.parameters(), lr=0.1)
    try:
        Sniper(refused, optimizer, random_scores(refused, seed=rank), SCHEDULE)
    except ValueError as error:
        unequal["refused"] = str(error)
    assert all(p.all() for p in prunable_parameters(refused).values())
    result = {"unequal": unequal} | trained(model, [half(batch, rank) for batch in batches])
    torch.save(result, f"{folder}/rank{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_agree_with_each_other_and_with_one(tmp_path):
    multiprocessing.start_processes(
        worker, args=(str(tmp_path),), nprocs=2, start_method="forkserver"
    )
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    for rank, found in enumerate(ranks):
        assert f"masks differ between process {rank} and processes {1 - rank}: give all" in (
            found["unequal"].pop("refused")
        )
    alone = trained(small_model(), small_batches(7))
    for name, score in snip_scores(small_model(), cross_entropy, small_batches(1)).items():
        assert torch.equal(ranks[0]["unequal"][name], score)
    for name, score in alone["scores"].items():
        assert torch.equal(ranks[0]["scores"][name], ranks[1]["scores"][name])
        # Each process has the mean loss of half a batch; their sum is twice that of the whole.
        torch.testing.assert_close(ranks[0]["scores"][name], 2 * score, rtol=1e-4, atol=1e-7)
    histories = zip(*(rank["masks"] for rank in ranks), alone["masks"], strict=True)
    for first, second, single in histories:
        for name in single:
            assert torch.equal(first[name], second[name])
            assert torch.equal(first[name], single[name])
    for name, weight in alone["weights"].items():
        first, second = (rank["weights"][f"module.{name}"] for rank in ranks)
        assert torch.equal(first, second)
        torch.testing.assert_close(first, weight, rtol=1e-4, atol=1e-5)
