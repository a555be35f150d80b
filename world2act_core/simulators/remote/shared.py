"""Memory that two processes share: arrays are written once and read once, whatever their size.

The memory is an anonymous file (``memfd_create``), handed down as a file descriptor. It has no name, so nothing is left
in ``/dev/shm`` however the processes end: it is gone with the last of them.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Mapping, Sequence
from fcntl import F_ADD_SEALS, F_SEAL_SHRINK, fcntl
from typing import Any

import numpy as np

from world2act_core.simulators.remote.messages import BadMessage
from world2act_core.types import Array

DTYPES = ("|u1", "|b1", "<i4", "<i8", "<f4", "<f8")
"""What an array may hold."""
_ALIGNED = 64


def create() -> int:
    """A file descriptor of new, empty memory. It may grow, never shrink: a mapping of it stays valid."""
    descriptor = os.memfd_create("world2act-simulator", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK)
    return descriptor


class SharedArrays:
    """Arrays in shared memory, seen from one side. Each write replaces what the last one wrote.

    Args:
        descriptor: of ``create``; it belongs to this object from now on.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map: mmap.mmap | None = None

    def write(self, arrays: Mapping[str, Array]) -> list[dict[str, Any]]:
        """Put arrays there; returns where they lie, for the other side's ``read``."""
        places, end = [], 0
        for name, array in arrays.items():
            if array.dtype.str not in DTYPES:
                raise TypeError(f"{name} is {array.dtype}: expected one of {', '.join(DTYPES)}")
            places.append({"name": name, "dtype": array.dtype.str, "shape": list(array.shape), "at": end})
            end += -(-array.nbytes // _ALIGNED) * _ALIGNED
        if end > (0 if self._map is None else len(self._map)):
            os.ftruncate(self._descriptor, end)
            self._remap()
        for place, array in zip(places, arrays.values(), strict=True):
            self._view(place)[...] = array
        return places

    def read(self, places: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
        """Copies of the arrays that the other side has written.

        Raises:
            BadMessage: the places are none of this memory.
        """
        try:
            return {str(place["name"]): self._view(place).copy() for place in places}
        except (KeyError, TypeError, ValueError) as error:
            raise BadMessage(f"arrays at {places!r:.80}: {error}") from None

    def close(self) -> None:
        """Give the memory back."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _view(self, place: Mapping[str, Any]) -> Array:
        if place["dtype"] not in DTYPES:
            raise ValueError(f"dtype {place['dtype']!r}")
        dtype, shape, at = np.dtype(place["dtype"]), tuple(int(size) for size in place["shape"]), int(place["at"])
        if min((at, *shape)) < 0:
            raise ValueError(f"at {at}, shape {shape}")
        count = math.prod(shape)
        end = at + count * dtype.itemsize
        if count == 0:
            return np.empty(shape, dtype)
        if self._map is None or end > len(self._map):
            self._remap()
        if self._map is None or end > len(self._map):
            raise ValueError(f"{end} bytes of {len(self._map or b'')}")
        return np.frombuffer(self._map, dtype, count, at).reshape(shape)

    def _remap(self) -> None:
        """The whole memory as it is now; the other side may have made it larger."""
        # An earlier mapping is not closed: arrays may still look into it. It goes when they do.
        self._map = mmap.mmap(self._descriptor, 0) if os.fstat(self._descriptor).st_size else None
