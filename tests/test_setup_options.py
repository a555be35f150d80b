"""Set-up for container images: other extras, without ROS 2, RoboCasa's environment, layers; on a tiny distribution."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Stands in for World2Act and its packages: pip installs it without a registry and without a build environment.
PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny"
version = "1"

[project.optional-dependencies]
ros = []
policies = []
cpu = [
    "pip", # on lines of its own, as an extra may be
]

[project.scripts]
"""
BACKEND = """\
import zipfile


def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "tiny-1-py3-none-any.whl"
    meta = "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\nProvides-Extra: cpu\\nProvides-Extra: policies\\n"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr("tiny-1.dist-info/METADATA", meta)
        wheel.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    return name


build_editable = build_wheel
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the real scripts and a distribution that depends on nothing."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "lock.txt").touch()
    (tmp_path / "requirements" / "robocasa.txt").write_text(f"{tmp_path}\n")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "backend.py").write_text(BACKEND)
    return tmp_path


def run(checkout: Path, *command: str, extras: str = "") -> subprocess.CompletedProcess[str]:
    """One of the scripts, without the ROS 2 that may be sourced and without a registry."""
    environment = {name: value for name, value in os.environ.items() if name not in ("ROS_DISTRO", "WORLD2ACT_EXTRAS")}
    environment |= {"PIP_NO_INDEX": "1", **({"WORLD2ACT_EXTRAS": extras} if extras else {})}
    call = [str(checkout / "scripts" / command[0]), *command[1:]]
    return subprocess.run(call, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def test_an_extra_that_does_not_exist_is_refused_before_anything_is_made(checkout: Path) -> None:
    done = run(checkout, "setup", extras="policies,gpus")
    assert done.returncode == 1
    assert done.stderr == ('setup: WORLD2ACT_EXTRAS: pyproject.toml has no extra "gpus"; it has ros, policies, cpu\n')
    assert not (checkout / ".venv").exists()


def test_an_option_that_does_not_exist_is_refused(checkout: Path) -> None:
    done = run(checkout, "setup", "--no-ros")
    assert done.returncode == 1
    assert done.stderr == "setup: there is no option --no-ros; there are --no-workspace and --robocasa\n"


@pytest.mark.slow
def test_without_ros_among_the_extras_there_is_no_workspace_and_nobody_misses_it(checkout: Path) -> None:
    """The training image."""
    done = run(checkout, "setup", extras="policies,cpu")
    assert done.returncode == 0, done.stderr
    assert "Python packages [policies,cpu]" in done.stdout
    assert "colcon" not in done.stdout
    # Nothing to compile messages for, so no compiler is asked for either; and nothing is done twice.
    again = run(checkout, "setup", extras="policies,cpu")
    assert [line for line in again.stdout.splitlines() if not line.startswith("setup: ready")] == []

    used = run(checkout, "run", "python", "-c", "import sys, tiny; print(sys.prefix)")
    assert (Path(used.stdout.strip()), used.stderr) == (checkout / ".venv", "")


@pytest.mark.slow
def test_the_layer_of_packages_is_made_without_sources_and_not_again_with_them(checkout: Path) -> None:
    """How an image keeps its packages when only the code has changed. ROS 2's wheels are not among them here: what the
    second call wants is colcon, which says that it went on to the workspace."""
    (checkout / "scripts" / "mend_venv.py").write_text("")  # mends ROS 2's wheels
    done = run(checkout, "setup", "--no-workspace", extras="ros,cpu")
    assert done.returncode == 0, done.stderr
    assert "Python packages [ros,cpu]" in done.stdout

    (checkout / "ros_ws" / "src").mkdir(parents=True)
    (checkout / "ros_ws" / "src" / "package.xml").touch()
    again = run(checkout, "setup", extras="ros,cpu")
    assert "Python packages" not in again.stdout
    assert 'step "ROS 2 workspace (colcon)" failed' in again.stderr
    assert "No module named colcon" in again.stderr


@pytest.mark.slow
def test_robocasa_gets_an_environment_of_its_own_and_nothing_else(checkout: Path) -> None:
    done = run(checkout, "setup", "--robocasa")
    assert done.returncode == 0, done.stderr
    assert not (checkout / ".venv").exists()
    python = checkout / ".venv-robocasa" / "bin" / "python"
    assert subprocess.run([python, "-c", "import tiny"], check=False).returncode == 0
    again = run(checkout, "setup", "--robocasa")
    assert [line for line in again.stdout.splitlines() if not line.startswith("setup: ready")] == []


def test_an_environment_for_robocasa_that_somebody_else_made_is_left_alone(checkout: Path) -> None:
    (checkout / ".venv-robocasa").mkdir()
    done = run(checkout, "setup", "--robocasa")
    assert done.returncode == 1
    assert "move it away" in done.stderr
    assert (checkout / ".venv-robocasa").is_dir()
