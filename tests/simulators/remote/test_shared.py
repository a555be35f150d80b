"""Arrays through shared memory: the same bits on the other side, and never a look outside the memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from world2act_core.simulators.remote.messages import BadMessage
from world2act_core.simulators.remote.shared import SharedArrays, create
from world2act_core.types import Array

Sides = tuple[SharedArrays, SharedArrays]


@pytest.fixture
def sides() -> Iterator[Sides]:
    """The two sides, as two processes have them."""
    descriptor = create()
    writer, reader = SharedArrays(os.dup(descriptor)), SharedArrays(descriptor)
    yield writer, reader
    writer.close()
    reader.close()


def arrays() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 255, (3, 5, 3), np.uint8),
        "state": rng.standard_normal(7).astype(np.float32),
        "whole": rng.standard_normal((2, 3)),
        "solved": np.array([True, False]),
        "none": np.empty((0, 4), np.float32),
        "one": np.array(3, np.int64),
    }


def test_arrays_arrive_as_they_were(sides: Sides) -> None:
    writer, reader = sides
    arrived = reader.read(writer.write(arrays()))
    assert list(arrived) == list(arrays())
    for name, array in arrays().items():
        assert arrived[name].dtype == array.dtype and np.array_equal(arrived[name], array), name


def test_what_was_read_stays_when_the_next_is_written(sides: Sides) -> None:
    writer, reader = sides
    first = reader.read(writer.write({"a": np.full(9, 1.0)}))["a"]
    second = reader.read(writer.write({"a": np.full(9, 2.0)}))["a"]
    assert first[0] == 1 and second[0] == 2


def test_it_grows_with_its_arrays(sides: Sides) -> None:
    writer, reader = sides
    for size in (10, 1000, 10, 100_000):
        array = np.arange(size, dtype=np.float64)
        assert np.array_equal(reader.read(writer.write({"a": array}))["a"], array)


def test_a_row_that_is_a_view_of_something_larger_arrives(sides: Sides) -> None:
    upside_down = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[::-1]
    assert np.array_equal(sides[1].read(sides[0].write({"a": upside_down}))["a"], upside_down)


@pytest.mark.parametrize(
    "change",
    [
        {"at": 10**9}, {"at": -8}, {"shape": [10**9]}, {"shape": [-1]}, {"shape": [2**40, 2**40]}, {"dtype": "|O"},
        {"dtype": "<f16"}, {"at": "x"}, {"shape": None},
    ],
)  # fmt: skip
def test_a_place_outside_the_memory_is_refused(sides: Sides, change: dict[str, Any]) -> None:
    (place,) = sides[0].write({"a": np.zeros(4)})
    with pytest.raises(BadMessage):
        sides[1].read([{**place, **change}])


def test_what_cannot_be_shared_is_refused(sides: Sides) -> None:
    with pytest.raises(TypeError, match="a is object"):
        sides[0].write({"a": np.array([object()])})


def test_the_memory_never_shrinks_under_a_reader() -> None:
    descriptor = create()
    os.ftruncate(descriptor, 4096)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 1)
    os.close(descriptor)
