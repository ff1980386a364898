from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorcache.vectors.slab import Slab

REGION = 4096


def filled(size: int, value: int) -> bytes:
    return bytes([value % 256]) * size


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, REGION // 4, REGION // 4 + 1, 10 * REGION])
def test_holds_a_copy(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    block = Slab(REGION).hold(data[:size])
    assert block.readonly
    assert bytes(block) == data[:size]


def test_blocks_begin_on_cache_lines() -> None:
    slab = Slab(REGION)
    blocks = [slab.hold(filled(size, size)) for size in (1, 63, 64, 65, 100)]
    assert [np.frombuffer(block, np.uint8).ctypes.data % 64 for block in blocks] == [0] * 5


@given(st.lists(st.tuples(st.booleans(), st.integers(1, REGION // 3), st.integers(0, 30)), max_size=120))
def test_blocks_keep_what_they_hold_while_others_come_and_go(steps: list[tuple[bool, int, int]]) -> None:
    slab = Slab(REGION)
    held: dict[int, tuple[int, memoryview]] = {}
    for number, (put, size, which) in enumerate(steps):
        if put:
            held[number] = (size, slab.hold(filled(size, number)))
        elif held:
            del held[list(held)[which % len(held)]]
        for value, (length, block) in held.items():
            assert block.tobytes() == filled(length, value)


def test_a_view_keeps_its_place() -> None:
    slab = Slab(REGION)
    views = [slab.hold(filled(500, 7))[10:20], np.frombuffer(slab.hold(filled(500, 7)), np.uint8)[5:9][1:3]]
    for value in range(50):
        slab.hold(filled(1000, value))
    assert [view.tobytes() for view in views] == [filled(10, 7), filled(2, 7)]
    assert slab.bytes == REGION


def test_what_is_dropped_is_used_again_and_unused_regions_go() -> None:
    slab = Slab(REGION)
    blocks = [slab.hold(filled(1000, value)) for value in range(40)]
    most = slab.bytes
    assert most >= 40 * 1000
    blocks.clear()
    slab.hold(b"x")
    assert slab.bytes <= 2 * REGION
    again = [slab.hold(filled(1000, value)) for value in range(40)]
    assert slab.bytes == most
    assert len(again) == 40


def test_neighbours_that_are_free_are_one_place_again() -> None:
    slab = Slab(REGION)
    blocks = [slab.hold(filled(64, value)) for value in range(REGION // 64)]
    assert slab.bytes == REGION
    for at in [1, 3, 2, 0, *range(4, REGION // 64)]:
        blocks[at] = memoryview(b"")
    large = [slab.hold(filled(REGION // 4, value)) for value in range(4)]
    assert slab.bytes == REGION
    assert [block[0] for block in large] == [0, 1, 2, 3]


def test_many_threads_may_share_one() -> None:
    slab, wrong = Slab(1 << 16), []

    def work(value: int) -> None:
        for size in range(1, 400):
            block = slab.hold(filled(size, value))
            if block.tobytes() != filled(size, value):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
