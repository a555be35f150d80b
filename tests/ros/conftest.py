"""Fixtures of the ROS tests: a domain of their own, a probe, a bag to replay, a contract with small cameras."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import BagWriter
from world2act_core.runtime.graphs import dds_environment

if TYPE_CHECKING:
    from tests.ros.support import Probe

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup")
pytest.importorskip("world2act_interfaces", reason="ros_ws is not built or not sourced: make setup, scripts/run pytest")

# Fast DDS reads its profile when this process's first participant is made.
for _name, _value in dds_environment().items():
    os.environ.setdefault(_name, _value)

_domains = itertools.count(20 + os.getpid() % 60)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.ros)


@pytest.fixture(scope="module")
def domain() -> int:
    """A ROS domain that no other test module uses."""
    return next(_domains)


@pytest.fixture
def probe(domain: int) -> Iterator[Probe]:
    from diagnostic_msgs.msg import DiagnosticArray

    from tests.ros.support import Probe

    made = Probe(domain)
    made.listen(DiagnosticArray, "/diagnostics", 10)
    yield made
    made.close()


@pytest.fixture(scope="session")
def panda() -> Embodiment:
    return load_embodiment("libero_panda")


@pytest.fixture(scope="module")
def made_bag(tmp_path_factory: pytest.TempPathFactory, panda: Embodiment) -> Path:
    """A bag with one synthetic episode."""
    from tests.ros.support import make_episode

    path = tmp_path_factory.mktemp("made") / "bag"
    with BagWriter(path, panda) as writer:
        writer.write_episode(make_episode(panda))
    return path


@pytest.fixture(scope="module")
def long_bag(tmp_path_factory: pytest.TempPathFactory, panda: Embodiment) -> Path:
    """A bag with one synthetic episode of 20 s, to be replayed in many tests."""
    from tests.ros.support import make_episode

    path = tmp_path_factory.mktemp("long") / "bag"
    with BagWriter(path, panda) as writer:
        writer.write_episode(make_episode(panda, steps=400))
    return path


@pytest.fixture
def robot(tmp_path: Path) -> Embodiment:
    """A Panda with small cameras, as its own contract file."""
    shipped = Path(load_embodiment.__code__.co_filename).parent / "files" / "libero_panda.yaml"
    contract = yaml.safe_load(shipped.read_text())
    contract["name"] = "bench_arm"
    for camera in contract["cameras"].values():
        camera.update(rate_hz=30, rotation_deg=180)
    contract["max_skew_s"] = 0.045  # this machine may be busy
    path = tmp_path / "bench_arm.yaml"
    path.write_text(yaml.safe_dump(contract))
    return load_embodiment(path)
