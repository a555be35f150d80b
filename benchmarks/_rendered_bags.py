"""Bags of the rendered cell, as a recorder writes them on a robot."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks._calibration_cell import Cell, Truth
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import BagWriter, compose, messages
from world2act_core.types import Array

ARM = tuple(f"fr3_joint{k}" for k in range(1, 8))
RATE_HZ = 50
REST_S, MOVE_S = 0.8, 0.6


def joint_state(stamp_ns: int, names: Iterable[str], values: Array) -> bytes:
    empty = np.zeros(0)
    message = messages.make(
        messages.JOINT_STATE,
        header=compose.header(stamp_ns),
        name=list(names),
        position=np.asarray(values, np.float64),
        velocity=empty,
        effort=empty,
    )
    return messages.serialise(message)


def write_bag(
    path: Path, robot: Embodiment, camera: str, motion: tuple[Array, Array], images: Iterable[tuple[float, Array]]
) -> Path:
    """A bag with joint states ``(N,)`` s, ``(N, 7)`` rad, and images with the stamps they carry."""
    shown = robot.cameras[camera]
    logged = [
        (1 + stamp, "joint_states", messages.JOINT_STATE, joint_state(round(1e9 * (1 + stamp)), ARM, values))
        for stamp, values in zip(*motion, strict=True)
    ]
    for stamp, image in images:
        message = compose.raw_image_message(image, shown, round(1e9 * (1 + stamp)))
        logged.append((1 + stamp, shown.topic, messages.IMAGE, messages.serialise(message)))
    with BagWriter(path, robot) as writer:
        for stamp, topic, kind, data in sorted(logged, key=lambda entry: entry[0]):
            writer.write_raw(topic, kind, data, round(1e9 * stamp))
    return path


def stops(cell: Cell, truth: Truth, joints: list[Array]) -> tuple[tuple[Array, Array], list[tuple[float, Array]]]:
    """An arm that rests at each configuration, and one image of each rest."""
    rows: list[Array] = []
    images: list[tuple[float, Array]] = []
    for k, here in enumerate(joints):
        images.append((len(rows) / RATE_HZ + REST_S / 2, cell.image(cell.seen(truth, here))))
        rows += [here] * round(REST_S * RATE_HZ)
        following = joints[min(k + 1, len(joints) - 1)]
        steps = (1 - np.cos(np.linspace(0, np.pi, round(MOVE_S * RATE_HZ)))) / 2
        rows += [here + step * (following - here) for step in steps]
    return (np.arange(len(rows)) / RATE_HZ, np.array(rows)), images
