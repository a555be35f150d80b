"""What the peers share: how they are told to misbehave. Peers share no code with World2Act: they are the strangers.

Every answer with actions counts. After ``--good`` good ones come ``--faults`` faulty ones of one kind, then good ones
again, so that a test can see a client recover.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from typing import Any

import numpy as np

FAULTS = ("slow", "die", "nan", "shape", "horizon", "error", "garbage")


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default="")
    parser.add_argument("--horizon", type=int, default=16)
    parser.add_argument("--fault", choices=FAULTS)
    parser.add_argument("--good", type=int, default=1, help="answers before the faulty ones")
    parser.add_argument("--faults", type=int, default=1, help="faulty answers")
    parser.add_argument("--until", default="", help="file that a slow answer waits for; never comes without one")
    parser.add_argument("--record", default="", help="npz file that holds the last request")
    parser.add_argument("--flat", action="store_true")
    parser.add_argument("--cameras", default="image,wrist_image")
    parser.add_argument("--state", default="x,y,z,roll,pitch,yaw,gripper")
    parser.add_argument("--actions", default="x,y,z,roll,pitch,yaw,gripper")
    parser.add_argument("--history", default="0", help="delta indices of the video")
    return parser.parse_args()


class Behaviour:
    """Which fault the answer that is due has, if any."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args, self._answers = args, itertools.count()

    def next_fault(self) -> str:
        number = next(self._answers)
        faulty = self._args.good <= number < self._args.good + self._args.faults
        fault = self._args.fault if faulty and self._args.fault else ""
        if fault == "die":
            os._exit(3)
        if fault == "slow":
            while not (self._args.until and os.path.exists(self._args.until)):
                time.sleep(0.02)
        return fault


def chunk(batch: int, horizon: int, fault: str, gripper: float) -> np.ndarray:
    """``(B, H, 7)`` float32 that a test can know: (b + t + d) / 1000, but for the gripper."""
    if fault == "horizon":
        horizon -= 1
    b, t, d = np.meshgrid(np.arange(batch), np.arange(horizon), np.arange(7), indexing="ij")
    actions = ((b + t + d) / 1000).astype(np.float32)
    actions[..., 6] = gripper
    if fault == "nan":
        actions[0, 2, 3] = np.nan
    return actions[..., :5] if fault == "shape" else actions


def save(path: str, arrays: dict[str, np.ndarray]) -> None:
    if path:
        named: dict[str, Any] = {key.replace("/", "|"): value for key, value in arrays.items()}
        np.savez(f"{path}.part.npz", **named)
        os.replace(f"{path}.part.npz", path)


def listening(port: int) -> None:
    print(f"listening {port}", flush=True)
