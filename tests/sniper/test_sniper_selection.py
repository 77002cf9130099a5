"""Selections by histogram, against a stable sort of everything."""

import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sniper import SparsitySchedule
from sniper.masks import mask_levels
from sniper.selection import kth_lowest, levels_of, lowest

VALUES = st.one_of(
    st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=40),
    st.lists(
        st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False), min_size=1, max_size=40
    ),
    st.lists(st.sampled_from([0.0, -0.0, 1.0]), min_size=1, max_size=40),
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(deadline=None)  # the time of a first call on a busy machine says nothing
@given(lists=st.lists(VALUES, min_size=1, max_size=3), data=st.data())
def test_levels_are_those_of_a_stable_sort(dtype, lists, data):
    parts = [torch.tensor(values, dtype=dtype) for values in lists]
    values = torch.cat(parts)
    total = len(values)
    counts = sorted(data.draw(st.lists(st.integers(0, total), min_size=1, max_size=5)))[::-1]
    ranks = torch.empty(total, dtype=torch.int64)
    ranks[values.argsort(stable=True)] = torch.arange(total)
    expected = sum((ranks < count).long() for count in counts)
    assert torch.equal(torch.cat(levels_of(parts, counts)).long(), expected)
    assert torch.equal(lowest(values, counts[0]), ranks < counts[0])
    if counts[0]:
        assert kth_lowest(values, counts[0]) == values.sort().values[counts[0] - 1]


def test_ties_are_broken_by_position_across_chunks():
    values = torch.zeros(2**20 + 7)
    values[3] = -1.0
    first, last = levels_of([values[:9], values[9:]], [2**20 + 3, 5])
    assert first.tolist() == [2] * 5 + [1] * 4
    assert last.sum() == 2**20 + 3 - 9 and last[2**20 - 6 :].sum() == 0


def test_many_switches_are_quick():
    generator = torch.Generator().manual_seed(0)
    scores = {"a": torch.rand(10**6, generator=generator)}
    schedule = SparsitySchedule({u: 0.9 * (1 - u / 10_000) for u in range(10_000)})
    start = time.process_time()
    levels = mask_levels(scores, schedule.until_rise(0))["a"]
    assert time.process_time() - start < 20  # one sort for each switch would take many minutes
    order = scores["a"].argsort(stable=True)
    assert (levels[order].diff() <= 0).all() and levels.max() == len(schedule.milestones)
