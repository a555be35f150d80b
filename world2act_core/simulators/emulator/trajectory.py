"""ros2_control's JointTrajectoryController as its clients see it: what it refuses, how it moves, where it holds.

Facts: ros2_controllers (Jazzy), ``joint_trajectory_controller``: user documentation ("Trajectory Representation",
"Trajectory Replacement") and the checks that a message goes through. Emulated are its defaults: no partial goals, no
velocity at the end, interpolation from the measured state. Not emulated: tolerances, accelerations, partial goals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from world2act_core.types import Array


@dataclass(frozen=True)
class Waypoint:
    """``positions`` ``(J,)`` rad and, if given, ``velocities`` ``(J,)`` rad/s at ``time_from_start_s``."""

    positions: Array
    time_from_start_s: float
    velocities: Array | None = None


@dataclass(frozen=True)
class Setpoint:
    """Where the joints shall be now, ``(J,)`` rad, and how fast, ``(J,)`` rad/s."""

    positions: Array
    velocities: Array


class TrajectoryController:
    """One joint trajectory at a time; a new one replaces it from where the arm is.

    Times are seconds on the arm's clock.

    Args:
        joints: the controller's joints, in the order in which it is asked.
        position: where it holds until the first trajectory comes.
    """

    def __init__(self, joints: Sequence[str], position: Array) -> None:
        self._joints = tuple(joints)
        self._times = np.zeros(1)
        self._points = np.array(position, np.float64)[None]
        self._velocities: list[Array | None] = [None]

    def accept(
        self, names: Sequence[str], waypoints: Sequence[Waypoint], stamp: float, now: float, measured: Setpoint
    ) -> str:
        """Take a trajectory, or refuse it and go on with the current one.

        Args:
            names: the message's joints, in the message's order.
            stamp: when it starts; 0: now.

        Returns:
            Why it was refused, or "".
        """
        refusal = self._refuse(names, waypoints, stamp, now)
        if refusal:
            return refusal
        order = [list(names).index(joint) for joint in self._joints]
        start = stamp or now
        times = np.array([start + point.time_from_start_s for point in waypoints])
        ahead = int(np.searchsorted(times, now, side="right"))  # what lies in the past is passed over
        if ahead == len(waypoints):  # only without a stamp: be there at once
            ahead -= 1
        kept = waypoints[ahead:]
        self._times = np.concatenate([[min(now, times[ahead])], times[ahead:]])
        self._points = np.stack([measured.positions, *(np.asarray(p.positions, np.float64)[order] for p in kept)])
        velocities = [None if p.velocities is None else np.asarray(p.velocities, np.float64)[order] for p in kept]
        self._velocities = [measured.velocities, *velocities]
        return ""

    def _refuse(self, names: Sequence[str], waypoints: Sequence[Waypoint], stamp: float, now: float) -> str:
        size = len(self._joints)
        unknown = [name for name in names if name not in self._joints]
        if unknown:
            return f"joint {unknown[0]!r} is not one of the controller's joints {', '.join(self._joints)}"
        if len(names) != size or len(set(names)) != size:
            return f"the trajectory names {len(set(names))} joints, the controller has {size}"
        if not waypoints:
            return "the trajectory has no points"
        last = -np.inf
        for index, point in enumerate(waypoints):
            if point.time_from_start_s <= last:
                return f"time_from_start of point {index} is not later than the point's before it"
            last = point.time_from_start_s
            for values in (point.positions, *([] if point.velocities is None else [point.velocities])):
                if np.shape(values) != (size,):
                    return f"point {index} has {np.size(values)} values for {size} joints"
                if not np.isfinite(values).all():
                    return f"point {index} holds a value that is not finite"
        if waypoints[-1].velocities is not None and np.abs(waypoints[-1].velocities).max() > 1e-6:
            return "the trajectory's last velocity is not zero"
        if stamp and stamp + last < now:
            return f"the trajectory ended {now - stamp - last:.2f} s in the past"
        return ""

    def sample(self, now: float) -> Setpoint:
        """Where the joints shall be: lines between positions, cubics with velocities, the last point held."""
        times = self._times
        if now >= times[-1]:
            return Setpoint(self._points[-1], np.zeros(len(self._joints)))
        if now <= times[0]:
            return Setpoint(self._points[0], np.zeros(len(self._joints)))
        right = int(np.searchsorted(times, now, side="right"))
        span, share = times[right] - times[right - 1], (now - times[right - 1]) / (times[right] - times[right - 1])
        here, there = self._points[right - 1], self._points[right]
        start, end = self._velocities[right - 1], self._velocities[right]
        if start is None or end is None:
            return Setpoint(here + share * (there - here), (there - here) / span)
        return _cubic(share, span, here, there, start, end)

    def at_end(self, now: float) -> bool:
        """The last point is reached and held."""
        return bool(now >= self._times[-1])

    def hold(self, position: Array, now: float) -> None:
        """Stop and hold ``position`` ``(J,)``."""
        self._times, self._points, self._velocities = np.array([now]), np.array(position, np.float64)[None], [None]


def _cubic(share: float, span: float, here: Array, there: Array, start: Array, end: Array) -> Setpoint:
    """The cubic Hermite curve with these positions and velocities at its ends."""
    s, s2, s3 = share, share**2, share**3
    position = (
        (2 * s3 - 3 * s2 + 1) * here
        + (s3 - 2 * s2 + s) * span * start
        + (3 * s2 - 2 * s3) * there
        + (s3 - s2) * span * end
    )
    velocity = (6 * s2 - 6 * s) / span * (here - there) + (3 * s2 - 4 * s + 1) * start + (3 * s2 - 2 * s) * end
    return Setpoint(position, velocity)
