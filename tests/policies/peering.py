"""Peers as processes of their own, and what the tests of policy servers show and expect."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.embodiment import load_embodiment
from world2act_core.types import Array, Observation

PANDA = load_embodiment("libero_panda")
PEERS = Path(__file__).parent / "peers"
PROTOCOLS = ("gr00t", "openpi", "cosmos")
SIZE = {"gr00t": 256, "openpi": 224, "cosmos": 256}


class Peer:
    """A stranger's server in another process."""

    def __init__(self, script: str, *args: str, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PEERS / script), *args],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        assert words[:1] == ["listening"], f"{script} did not start"
        self.port = int(words[1])

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def peer(protocol: str, *args: str) -> Iterator[Peer]:
    made = Peer(f"{protocol}_server.py", *args)
    try:
        yield made
    finally:
        made.end()


def address(protocol: str, port: int, **options: Any) -> str:
    given = {"timeout_ms": 5000, "connect_timeout_ms": 20000, **options}
    return f"{protocol}://127.0.0.1:{port}?" + "&".join(f"{name}={value}" for name, value in given.items())


def an_observation(size: int, seed: int = 0) -> Observation:
    """What a LIBERO arm sees, with images of their own ``size`` and a proper orientation."""
    rng = np.random.default_rng(seed)
    quaternion = rng.normal(size=4)
    state = {name: rng.uniform(-0.5, 0.5, s.size).astype(np.float32) for name, s in PANDA.state.items()}
    state["eef_orientation"] = (quaternion / np.linalg.norm(quaternion)).astype(np.float32)
    images = {name: rng.integers(0, 255, (size, size, 3), np.uint8) for name in PANDA.cameras}
    return Observation(1.5 + seed, images, state)


def known_chunk(row: int, horizon: int) -> Array:
    """What the peers answer, in LIBERO's units: see ``common.chunk``; their gripper is half open."""
    t, d = np.meshgrid(np.arange(horizon), np.arange(7), indexing="ij")
    actions = ((row + t + d) / 1000).astype(np.float32)
    actions[:, 6] = -0.5
    return actions


def axis_angle(quaternion: Array) -> Array:
    """robosuite's ``quat2axisangle`` of xyzw, as its documentation has it."""
    x, y, z, w = (float(value) for value in quaternion)
    w = max(-1.0, min(1.0, w))
    return np.array([x, y, z]) * 2 * np.arccos(w) / np.sqrt(1 - w * w)


def turned(image: Array) -> Array:
    """What LIBERO's evaluations feed a policy: MuJoCo's image, which comes bottom up, turned by 180 degrees."""
    from_mujoco = image[::-1]
    return np.rot90(from_mujoco, 2)
