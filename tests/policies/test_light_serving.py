"""Serving is done from other people's environments too (docs/policies.md), so it must need little."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.policies.served import ROOT
from world2act_core.errors import MissingExtraError
from world2act_core.policies.address import import_part

HEAVY = "torch diffusers rosbags mcap h5py pyarrow av matplotlib mujoco robosuite libero onnxruntime rclpy"


@pytest.mark.parametrize("protocol", ["gr00t", "openpi", "cosmos"])
def test_the_command_that_serves_loads_nothing_heavy(protocol: str) -> None:
    script = f"""
import sys
from world2act_core.cli import serve, main
from world2act_core.embodiment import load_embodiment
from world2act_core.policies import address, identity, mapping, serve, server_address
address.import_part("world2act_core.policies.{protocol}.server")
mapping.load_mapping({protocol!r}, load_embodiment("libero_panda"))
print(*(name for name in {HEAVY.split()} if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == ""


def test_what_another_environment_lacks_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, package, wanted in (
        ("world2act_core.policies.lerobot", "torch", "pip install 'torch'"),
        ("world2act_core.policies.gr00t.wire", "zmq", r"pip install 'world2act\[policies\]'"),
    ):
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtraError, match=wanted):
            import_part(module)


def test_a_mistake_of_ours_is_not_a_missing_package() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_part("world2act_core.policies.nothing")
