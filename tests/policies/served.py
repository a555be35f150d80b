"""A policy whose chunks tell what it was shown, and our command serving it in another process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.policies.peering import PEERS
from world2act_core.embodiment import Embodiment
from world2act_core.errors import World2ActError
from world2act_core.policies.protocol import Policy
from world2act_core.types import ActionChunk, Array, Observation

ROOT = Path(__file__).parents[2]


class TellingPolicy(Policy):
    """Actions that depend on every pixel's place, the state and the prompt, so that a wrong turn or sign is seen.

    ``reference``: the streams that it reads, with commas; ``stateful`` among them makes it count its chunks, and
    ``as-NAME`` gives it an identity. It refuses the prompt "fail".
    """

    def __init__(self, reference: str, embodiment: Embodiment) -> None:
        words = reference.split(",")
        self._read = tuple(word for word in words if word in embodiment.state)
        self.streams = self._read
        self.stateful = "stateful" in words
        self.identity = next((word.removeprefix("as-") for word in words if word.startswith("as-")), "")
        self.cameras, self.horizon, self.embodiment = tuple(embodiment.cameras), 8, embodiment
        self.reset()

    def reset(self) -> None:
        self._count = 0

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        if prompt == "fail":
            raise World2ActError("the policy cannot think of anything")
        if prompt == "crash":
            raise ZeroDivisionError("a fault of its own")
        self._count += self.stateful
        told = [_weighed(observation.images[name]) for name in self.cameras]
        told += [float(np.sum(observation.state[name] * (1 + np.arange(len(observation.state[name]))))) / 20
                 for name in self._read]  # fmt: skip
        actions = np.zeros((self.horizon, self.embodiment.action.size), np.float32)
        actions[:, : len(told)] = told
        actions[:, 5] = (np.arange(self.horizon) + self._count) / 100
        actions[:, 6] = 0.4 if prompt == "close" else -0.7
        return ActionChunk(self.embodiment.clamp(actions), observation.stamp, prompt)


def _weighed(image: Array) -> float:
    rows, columns = np.indices(image.shape[:2])
    weights = np.asarray(rows + 2 * columns)[..., None] * np.arange(1, 4)
    return float((image * weights).sum() / (255 * weights.sum()))


def open_telling(reference: str, embodiment: Embodiment) -> Policy:
    return TellingPolicy(reference, embodiment)


SERVE = """
import sys
from world2act_core.cli import main
from world2act_core.policies.address import register_policy_scheme
register_policy_scheme("telling", "tests.policies.served:open_telling")
sys.exit(main(["serve", *sys.argv[1:]]))
"""


@contextlib.contextmanager
def serving(
    *args: str, environment: dict[str, str] | None = None, folder: Path = ROOT, port: int = 0
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """``world2act serve`` as a process in ``folder``, at any port unless one is named; gives it and its port. It must
    end by itself on SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, *args, "--port", str(port)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        found = 0
        for line in process.stdout:
            if line.startswith("listening on "):
                found = int(line.split(",")[0].rpartition(":")[2])
                break
        assert found, "the server did not start"
        yield process, found
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
        process.stdout.close()


class Client:
    """A peer that asks, in another process: a line in, a line of JSON out."""

    def __init__(self, script: str, *args: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PEERS / script), *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, line: object) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the client ended"
        return json.loads(line)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
