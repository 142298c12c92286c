"""Which frames are complete once a delta's blocks come, in any order and any company."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from haulout.fetch.completion import FrameCompletion
from haulout.frames import join_groups

DELTA = 9


class Found:
    """Three frames of four blocks: one lacks two blocks, one the same block twice, one a block of the first."""

    def __init__(self):
        self.lacking = {3: np.array([1, 2]), 5: np.array([0, 3]), 7: np.array([2])}
        self.own = {3: [50, 60], 5: [70, 70], 7: [60]}

    def names(self, frames):
        return np.array([name for frame in frames for name in self.own[frame]], dtype=np.uint64)

    def blocks(self, frames):
        lengths = [4 for _ in frames]
        numbers = np.array([100 * frame + block for frame in frames for block in range(4)], dtype=np.int64)
        return lengths, np.zeros(len(numbers), dtype=np.int16), numbers


def completing(found: Any) -> FrameCompletion:
    return FrameCompletion(found, DELTA)


@pytest.fixture
def completion():
    return completing(Found())


def names(*values):
    return np.array(values, dtype=np.uint64)


def test_a_frame_is_complete_with_the_last_block_it_lacks(completion):
    assert completion.add(0, names(50)) == []
    assert completion.add(1, names(70)) == [5]
    assert completion.add(2, names(1, 2, 60)) == [3, 7]
    assert completion.complete == {3, 5, 7}


def test_blocks_that_nothing_lacks_and_blocks_that_came_before_complete_nothing(completion):
    assert completion.add(0, names(0, 55, 99)) == []
    assert completion.add(3, names(70, 70)) == [5]
    assert completion.add(5, names(70)) == []
    assert completion.complete == {5}


def test_pieces_are_taken_from_the_delta_where_the_seeds_lack_them(completion):
    completion.add(10, names(60, 50, 70))
    completion.add(20, names(60))
    seeds = np.array([0, DELTA, DELTA, 0, DELTA, 0, 0, DELTA], dtype=np.int16)
    numbers = np.array([300, 11, 10, 303, 12, 501, 502, 12], dtype=np.int64)
    assert completion.pieces([3, 5]) == join_groups(seeds, numbers, [4, 4])


def test_where_nothing_is_lacking_nothing_is_completed():
    found = Found()
    found.lacking = {}
    assert completing(found).add(0, names(50)) == []


def test_each_frame_is_handed_to_one_thread(completion):
    ready: list[int] = []
    gate = threading.Barrier(3)

    def add(first, *given):
        gate.wait(10)
        ready.extend(completion.add(first, names(*given)))

    threads = [threading.Thread(target=add, args=each) for each in ((0, 50, 60, 70), (3, 60, 50, 70), (6, 70, 60))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(ready) == [3, 5, 7]
    assert all(piece.offset >= 0 for pieces in completion.pieces([3, 5, 7]) for piece in pieces)
