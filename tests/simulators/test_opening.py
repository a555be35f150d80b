"""Which interpreter simulates a suite, and what is said where there is none."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.simulators import opening
from world2act_core.simulators.opening import FAMILIES, family_of, open_simulator


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout without environments, on a machine where no variable names one."""
    monkeypatch.setattr(opening, "CHECKOUT", tmp_path)
    for family in FAMILIES.values():
        monkeypatch.delenv(family.variable, raising=False)
    return tmp_path


def test_suites_belong_to_the_family_of_their_first_word() -> None:
    assert family_of("libero_goal_swap").title == family_of("libero_10").title == "LIBERO"
    assert family_of("robocasa_atomic__target__l1s1").title == "RoboCasa"
    with pytest.raises(World2ActError, match="no simulator has suite 'metaworld_10': suites are called libero_"):
        open_simulator("metaworld_10", 0)


def test_libero_runs_in_the_interpreter_that_runs_us(checkout: Path) -> None:
    assert family_of("libero_goal").interpreter() == Path(sys.executable)


def test_robocasa_runs_in_the_checkouts_environment(checkout: Path) -> None:
    away = replace(FAMILIES["robocasa"], package="there_is_no_such_package")
    with pytest.raises(MissingExtraError, match=r"RoboCasa has no environment yet .*'make setup-robocasa' \(scripts/"):
        away.interpreter()
    python = checkout / ".venv-robocasa" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert away.interpreter() == python
    assert replace(away, package="numpy").interpreter() == Path(sys.executable)


def test_a_variable_names_another_interpreter(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD2ACT_ROBOCASA_PYTHON", sys.executable)
    assert family_of("robocasa_atomic").interpreter() == Path(sys.executable)
    monkeypatch.setenv("WORLD2ACT_ROBOCASA_PYTHON", str(checkout / "python"))
    with pytest.raises(MissingExtraError, match=r"WORLD2ACT_ROBOCASA_PYTHON is '.*', where no interpreter is: make it"):
        open_simulator("robocasa_atomic", 0, remote=True)


def test_make_has_the_target_that_the_message_names() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert "setup-robocasa:" in makefile and "scripts/setup --robocasa" in makefile


def test_a_server_needs_neither_torch_nor_ros() -> None:
    """RoboCasa's environment has numpy and PyYAML, and no package beside them that we ask for."""
    code = (
        "import sys; import world2act_core.simulators.remote.server, world2act_core.simulators.robocasa "
        if (Path(opening.__file__).parent / "robocasa").is_dir()
        else "import sys; import world2act_core.simulators.remote.server "
    )
    ours = "; print(sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    said = subprocess.run([sys.executable, "-c", code + ours], capture_output=True, text=True, check=True).stdout
    loaded = set(eval(said))
    assert {"numpy", "yaml", "world2act_core"} <= loaded
    assert not loaded & {"torch", "rclpy", "tqdm", "cv2", "av", "h5py", "rosbags", "msgpack", "scipy", "mujoco"}
