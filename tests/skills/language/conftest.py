"""The fake endpoint, and decomposers that ask it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from world2act_core.skills.language.endpoint import KEY_VARIABLE, EndpointDecomposer, Patience

KEY = "sk-0123456789abcdef-secret"
QUICK = Patience(connect_s=2.0, read_s=2.0, total_s=10.0, attempts=3, first_wait_s=0.02, longest_wait_s=0.05)
_numbers = itertools.count()  # one a decomposer: the fake remembers what it did at each address


@dataclass
class Fake:
    """The running fake. ``ask`` makes a decomposer, ``requests`` tells what arrived since."""

    port: int
    log: Path
    cache: Path

    def ask(self, mode: str, **settings: Any) -> EndpointDecomposer:
        url = f"http://127.0.0.1:{self.port}/{mode}/{next(_numbers)}"
        return EndpointDecomposer("fake-1", **{"base_url": url, "patience": QUICK, "cache": self.cache, **settings})

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    log = tmp_path_factory.mktemp("endpoint") / "requests.jsonl"
    command = [sys.executable, str(Path(__file__).with_name("fake_endpoint.py")), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), log
        process.terminate()


@pytest.fixture
def fake(server: tuple[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    port, log = server
    log.write_text("")
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    # Wrong on purpose: what goes to this machine must not take a detour.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    return Fake(port, log, tmp_path / "answers")
