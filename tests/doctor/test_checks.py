"""The doctor sees what is there and what is not, whatever hangs or crashes meanwhile."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from world2act_core.calibration.camera_info import write_camera_info
from world2act_core.calibration.camera_model import CameraModel
from world2act_core.calibration.intrinsics import Intrinsics
from world2act_core.calibration.store import now, path_of
from world2act_core.doctor import checks
from world2act_core.doctor.probe import NotInstalledError, ProbeError, probe
from world2act_core.doctor.types import Finding
from world2act_core.embodiment import load_embodiment

BLOCKED = {"torch": "torch", "rclpy": "ROS 2", "world2act_interfaces": "ros_ws", "libero": "LIBERO",
           "mujoco": "rendering", "onnxruntime": "ONNX Runtime", "pyrealsense2": "RealSense"}  # fmt: skip
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="module")
def bare_machine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command says where none of the big parts can be imported."""
    folder = tmp_path_factory.mktemp("blocked")
    (folder / "sitecustomize.py").write_text(BLOCKER.format(blocked=set(BLOCKED)))
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-m", "world2act_core.cli", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=checks.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return {"demo_ready": json.loads(done.stdout)["demo_ready"]} | {
        check["name"]: check for check in json.loads(done.stdout)["checks"]
    }


@pytest.mark.parametrize("name", BLOCKED.values())
def test_what_cannot_be_imported_is_missing_and_has_a_mend(bare_machine: dict[str, Any], name: str) -> None:
    assert bare_machine[name]["status"] == "missing"
    assert bare_machine[name]["mend"]


def test_a_bare_machine_is_not_ready_for_the_demo(bare_machine: dict[str, Any]) -> None:
    assert bare_machine["demo_ready"] is False


@pytest.mark.parametrize("check", [checks.python, checks.packages, checks.torch, checks.disk, checks.machine])
def test_what_the_tests_run_on_is_seen(check: Any) -> None:
    assert check().status == "ok"


@pytest.mark.libero
def test_a_real_frame_is_rendered_and_libero_lists_its_task() -> None:
    assert checks.rendering().status == "ok"
    assert "put the bowl on the plate" in checks.libero().detail


@pytest.mark.libero
def test_a_backend_that_does_not_work_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "no-such-backend")
    finding = checks.rendering()
    assert finding.status == "broken"
    assert "libosmesa6" in finding.mend


@pytest.mark.ros
def test_the_message_package_of_the_workspace_is_seen() -> None:
    assert checks.ros().status == "ok"
    assert checks.workspace().detail in ("built and up to date", "ros_ws changed since it was built")


def test_a_profile_that_does_not_exist_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", str(tmp_path / "gone.xml"))
    assert checks.fast_dds().status == "broken"


def test_two_opencv_packages_are_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both provide cv2 and overwrite each other without a word."""
    real = list(importlib.metadata.distributions())
    second = SimpleNamespace(metadata={"Name": "opencv_python_headless"})
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: [*real, second])
    finding = checks.packages()
    assert finding.status == "broken"
    assert "opencv-python and opencv-python-headless" in finding.detail


def test_a_robocasa_environment_that_lacks_robocasa_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD2ACT_ROBOCASA_PYTHON", sys.executable)
    finding = checks.robocasa()
    assert (finding.status, finding.mend) == ("broken", "scripts/setup --robocasa")


def test_no_robocasa_environment_has_a_way_to_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD2ACT_ROBOCASA_PYTHON", str(tmp_path / "python"))
    finding = checks.robocasa()
    assert (finding.status, finding.mend) == ("missing", "scripts/setup --robocasa")
    assert "no interpreter" in finding.detail or "where no" in finding.detail


def test_robocasa_tells_what_its_kitchens_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not (checks.ROOT / ".venv-robocasa" / "bin" / "python").exists():
        pytest.skip("no .venv-robocasa: make setup-robocasa")
    monkeypatch.delenv("WORLD2ACT_ROBOCASA_PYTHON", raising=False)
    monkeypatch.setenv("ROBOCASA_ASSETS_PATH", str(tmp_path))
    finding = checks.robocasa()
    assert finding.status == "missing" and "robosuite 1.5" in finding.detail
    assert finding.mend.endswith("robocasa.scripts.download_kitchen_assets --type all")
    for folder in ("fixtures", "objects", "textures"):
        (tmp_path / folder).mkdir()
    (tmp_path / "fixtures" / "box.obj").write_text("v 0 0 0\n" * 8)
    finding = checks.robocasa()
    assert finding.status == "ok" and "placeholder kitchens" in finding.detail


def test_a_probe_that_hangs_is_ended() -> None:
    with pytest.raises(ProbeError, match=r"no answer within 0\.5 s"):
        probe("import time; time.sleep(60)", time_limit_s=0.5)


def test_a_probe_that_crashes_says_how() -> None:
    with pytest.raises(ProbeError, match="signal 6"):
        probe("import os; os.abort()")


def test_a_probe_of_something_absent_says_so() -> None:
    with pytest.raises(NotInstalledError, match="no_such_module"):
        probe("import no_such_module")


def test_chatter_around_the_answer_is_ignored() -> None:
    assert probe("print('hello'); answer([1, 2]); print('bye')") == [1, 2]


def test_a_missing_robocasa_is_set_up_by_the_set_up_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD2ACT_ROBOCASA_PYTHON", str(tmp_path / "python"))
    assert checks.robocasa().mend == "scripts/setup --robocasa"


def test_a_calibration_is_missing_whole_or_too_old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert checks.calibration().status == "missing"
    camera = load_embodiment("ur5e").cameras["wrist"]
    model = CameraModel((camera.width, camera.height), np.diag([600.0, 600.0, 1.0]), "plumb_bob", np.zeros(5))
    result = Intrinsics(model, np.eye(9), 0.1, 0.1, 0.1, ("a",), ())
    file = path_of(tmp_path / "calibration" / "ur5e", "wrist", "camera_info")
    write_camera_info(file, result, "wrist", date=now(), board="b", serial="0123")
    assert checks.calibration() == Finding("ok", "ur5e/wrist")
    write_camera_info(file, result, "wrist", date="2020-01-01T00:00:00+00:00", board="b", serial="0123")
    old = checks.calibration()
    assert old.status == "broken" and "days old (more than 90)" in old.detail and "calibrate check" in old.mend
