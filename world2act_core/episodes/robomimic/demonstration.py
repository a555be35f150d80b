"""One demonstration of an HDF5 file: its datasets, checked against each other as they are read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from world2act_core.episodes.robomimic.layouts import Layout, reordered
from world2act_core.errors import ContractError
from world2act_core.types import Array

# What h5py raises when it meets bytes that are not what they should be; MemoryError for a length that is garbage.
UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)


class Demonstration:
    """One group ``data/demo_N``.

    Args:
        data: the group of all demonstrations.
        name: of this one, ``demo_N``.
        layout: what its datasets are called and mean.

    Attributes:
        length: N, the rows of every dataset.

    Raises:
        ContractError: (from every method) it cannot be used, because of what.
    """

    def __init__(self, data: h5py.Group, name: str, layout: Layout) -> None:
        self._layout, self._shared = layout, data.attrs
        with _reading("it"):
            self._group = data[name]
            if not isinstance(self._group, h5py.Group):
                raise ContractError("it is not a group")
            self.length = len(self._dataset("actions"))
            said = int(self._group.attrs.get("num_samples", self.length))
        if said != self.length:
            raise ContractError(f"it says that it has {said} samples, but has {self.length} actions")
        if self.length < 2:
            raise ContractError("it is shorter than one control step")

    def instruction(self, file: Path) -> str:
        """The task in words."""
        with _reading("its instruction"):
            task = self._layout.instruction(file, self._shared, self._group.attrs)
        if not task:
            raise ContractError("nothing says what its instruction is")
        return task

    def state(self, stream: str) -> Array:
        """A stream of the contract, ``(N, D)`` float64."""
        field = self._layout.state[stream]
        rows = self._rows(f"obs/{field.key}", (field.width,))
        return field.convert(rows) if field.convert else rows

    def actions(self, names: Sequence[str]) -> Array:
        """``(N - 1, A)`` float32, those between two observations, dimensions in the order of ``names``."""
        rows = self._rows("actions", (len(self._layout.actions),))
        between = rows[1:] if self._observed_after_action() else rows[:-1]
        return reordered(between, self._layout.actions, names).astype(np.float32)

    def images(self, camera: str, every: int) -> Array:
        """Upright images of every ``every``-th row, ``(K, H, W, 3)`` uint8."""
        key = f"obs/{self._layout.cameras.get(camera, camera)}"
        dataset = self._checked(key, (None, None, 3))
        if dataset.dtype != np.uint8:
            raise ContractError(f"{key} is {dataset.dtype}, images are uint8")
        with _reading(key):
            images = np.asarray(dataset[::every])
        return np.ascontiguousarray(images[:, ::-1]) if self._upside_down() else images

    def cameras(self, among: Collection[str]) -> list[str]:
        """Those of some cameras that this demonstration has."""
        keys = {name: self._layout.cameras.get(name) for name in among}
        return [name for name, key in keys.items() if key and self._has(f"obs/{key}")]

    def success(self) -> bool | None:
        """True if the last row is rewarded; ``dones`` do not tell, as many writers set the last one in any case."""
        if not self._has("rewards"):
            return None
        return True if self._rows("rewards", ())[-1] >= 1 else None

    def _observed_after_action(self) -> bool:
        """Whether row i of ``obs`` came after ``actions[i]`` rather than before.

        ``states`` hold the arm before each action, so they show which it was. Where they are missing or the arm stands
        still, the layout's custom stands.
        """
        columns, custom = self._layout.arm_in_states, self._layout.after_action
        if columns is None or not self._has("states"):
            return custom
        arm = self._rows("states", (None,))[:, columns]
        observed = self.state("joint_positions")
        if arm.shape != observed.shape:
            return custom
        before = np.median(np.abs(arm - observed).max(axis=1))
        after = np.median(np.abs(arm[1:] - observed[:-1]).max(axis=1))
        return custom if before == after else bool(after < before)

    def _upside_down(self) -> bool:
        with _reading("macros_image_convention"):  # a setting of robosuite that LIBERO notes
            convention = self._shared.get("macros_image_convention")
        return self._layout.upside_down if convention is None else convention == "opengl"

    def _rows(self, key: str, tail: tuple[int | None, ...]) -> Array:
        """A whole dataset ``(N, *tail)``, finite, float64."""
        dataset = self._checked(key, tail)
        with _reading(key):
            rows = np.asarray(dataset[()], np.float64)
        wrong = np.argwhere(~(np.abs(rows) <= np.finfo(np.float32).max))
        if len(wrong):
            raise ContractError(f"{key} holds {rows[tuple(wrong[0])]} at row {wrong[0][0]}")
        return rows

    def _checked(self, key: str, tail: tuple[int | None, ...]) -> h5py.Dataset:
        """The dataset, if it is ``(N, *tail)``, where None stands for any size."""
        with _reading(key):
            dataset = self._dataset(key)
            shape = dataset.shape
        expected = (self.length, *tail)
        same = [want in (None, has) for has, want in zip(shape, expected, strict=False)]
        if len(shape) != len(expected) or not all(same):
            wanted = ", ".join("any" if size is None else str(size) for size in expected)
            raise ContractError(f"{key} has shape {shape}, expected ({wanted})")
        return dataset

    def _has(self, key: str) -> bool:
        with _reading(key):
            return key in self._group

    def _dataset(self, key: str) -> h5py.Dataset:
        found = self._group.get(key)
        if not isinstance(found, h5py.Dataset):
            raise ContractError(f"it has no {key}")
        return found


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise ContractError(f"{what} cannot be read ({' '.join(str(error).split())})") from error
