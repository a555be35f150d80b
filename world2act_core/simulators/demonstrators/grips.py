"""How to take hold of things: where the hand has to be, and how turned, so that the fingers enclose them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from world2act_core.simulators.demonstrators.script import fingers_down, up
from world2act_core.simulators.privileged import Scene
from world2act_core.types import Array

WIDEST = 0.066
"""Metres: what is wider does not go between the fingers, which open 8 cm, with room for error."""
FINGERTIPS, PALM = 0.013, 0.022
"""Metres from the end effector's site down to the fingertips and up to the palm, as the gripper's geoms have it."""
FINGERS_HALF, PALM_HALF = (0.014, 0.07), (0.038, 0.106)
"""Metres from the site to the sides of the open fingers and of the palm: across and along the line of opening."""
ENOUGH_ROOM = 0.01
"""Metres between the hand and what stands beside; more is no better."""
SLIDES = (0.0, -0.5, 0.5, -1.0, 1.0)
"""Where a longish object may be taken, from its middle as far as its ends stick out."""


class Grip(Protocol):
    """A way to take hold of an object."""

    def pose(self, scene: Scene, body: str) -> tuple[Array, Array]:
        """Position ``(3,)`` in metres, frame world, and orientation (quaternion xyzw) of the hand around the object."""


@dataclass(frozen=True)
class Rim:
    """Between the fingers stands the rim of an upright vessel, which is thin.

    Attributes:
        radius: metres from the vessel's origin to the rim.
        height: metres of the hand above the vessel's origin.
        bearing: radians from the world's y axis, counter-clockwise: on which side of the vessel.
    """

    radius: float
    height: float
    bearing: float = 0.0

    def pose(self, scene: Scene, body: str) -> tuple[Array, Array]:
        outward = np.array([-np.sin(self.bearing), np.cos(self.bearing), 0.0])
        return scene.position(body) + self.radius * outward + up(self.height), fingers_down(_least_turn(self.bearing))


@dataclass(frozen=True)
class Around:
    """The whole object is between the fingers, across a side that is narrow enough.

    It follows the object's rotation, so that what has fallen over can be picked up too. Where neighbours stand in the
    hand's way it is taken across another side or nearer to one end.
    """

    def pose(self, scene: Scene, body: str) -> tuple[Array, Array]:
        others = [bounding_box(scene, other) for other in scene.simulator.objects if other != body]

        def preference(hold: tuple[Array, float]) -> tuple[float, float]:
            position, yaw = hold
            return min(_room(position, yaw, others), ENOUGH_ROOM), -abs(yaw)

        position, yaw = max(_holds(bounding_box(scene, body)), key=preference)
        return position, fingers_down(yaw)


@dataclass(frozen=True)
class Box:
    """The box that bounds an object, along the object's own axes, as it lies now.

    Attributes:
        centre: ``(3,)`` metres, frame world.
        half: ``(3,)`` metres from the centre to the sides.
        axes: ``(3, 3)``, columns are the object's axes in frame world.
    """

    centre: Array
    half: Array
    axes: Array

    @property
    def bottom(self) -> float:
        """Metres, frame world: height of the lowest point."""
        return float(self.centre[2] - np.abs(self.axes[2]) @ self.half)

    @property
    def top(self) -> float:
        """Metres, frame world: height of the highest point."""
        return float(self.centre[2] + np.abs(self.axes[2]) @ self.half)


def bounding_box(scene: Scene, body: str) -> Box:
    """The box around all geoms of an object that collide."""
    model, data = scene.simulator.mujoco
    root = model.body(f"{body}_main").id
    position, axes = scene.position(body), scene.rotation(body)
    corners = []
    for geom in range(model.ngeom):
        if model.body_rootid[model.geom_bodyid[geom]] != root or not model.geom_contype[geom]:
            continue
        centre, half = model.geom_aabb[geom].reshape(2, 3)
        local = centre + half * _SIGNS
        world = local @ np.array(data.geom_xmat[geom]).reshape(3, 3).T + data.geom_xpos[geom]
        corners.append((world - position) @ axes)
    points = np.concatenate(corners)
    low, high = points.min(axis=0), points.max(axis=0)
    return Box(position + axes @ ((low + high) / 2), (high - low) / 2, axes)


_SIGNS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)


def _holds(box: Box) -> Iterator[tuple[Array, float]]:
    """Position and yaw of hands around the box, from its middle outwards."""
    height = max(box.top - PALM, box.bottom + FINGERTIPS + 0.001)
    upright = int(np.argmax(np.abs(box.axes[2])))
    level = [axis for axis in range(3) if axis != upright]
    narrow = [axis for axis in level if 2 * box.half[axis] <= WIDEST] or [min(level, key=lambda axis: box.half[axis])]
    for slide in SLIDES:
        for axis in narrow:
            yaw = _least_turn(float(np.arctan2(-box.axes[0, axis], box.axes[1, axis])))
            other = level[1 - level.index(axis)]
            aside = slide * max(0.0, box.half[other] - box.half[axis]) * box.axes[:2, other]
            yield np.array([*(box.centre[:2] + aside), height]), yaw


def _room(position: Array, yaw: float, others: Sequence[Box]) -> float:
    """Metres between the hand and the nearest of other things that are high enough to be in its way."""
    directions = np.array([[np.cos(yaw), np.sin(yaw), 0.0], [-np.sin(yaw), np.cos(yaw), 0.0]])
    room = np.inf
    for box in others:
        if box.top < position[2] - FINGERTIPS:
            continue
        hand = PALM_HALF if box.top > position[2] + PALM else FINGERS_HALF
        gaps = np.abs(directions @ (box.centre - position)) - hand - np.abs(directions @ box.axes) @ box.half
        room = min(room, float(gaps.max()))
    return room


def _least_turn(yaw: float) -> float:
    """The same line of opening with the hand turned by at most a quarter."""
    return float((yaw + np.pi / 2) % np.pi - np.pi / 2)
