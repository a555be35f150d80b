"""The set-up scripts: repairs of the environment, stamps, refusals."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def mend_venv() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mend_venv", ROOT / "scripts" / "mend_venv.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_wheels_cmake_files_are_pointed_at_this_interpreter(mend_venv: ModuleType, tmp_path: Path) -> None:
    export = tmp_path / "std_msgs" / "cmake" / "std_msgs__rosidl_generator_pyExport.cmake"
    export.parent.mkdir(parents=True)
    built_at = "/opt/python/cp311-cp311"
    export.write_text(
        f'INCLUDES "{built_at}/include/python3.11;'
        f'{built_at}/lib/python3.11/site-packages/numpy/_core/include;${{_IMPORT_PREFIX}}/include"'
    )
    assert mend_venv.repair_exports(tmp_path, "/here/include", "/here/numpy") == 1
    assert export.read_text() == 'INCLUDES "/here/include;/here/numpy;${_IMPORT_PREFIX}/include"'
    assert mend_venv.repair_exports(tmp_path, "/here/include", "/here/numpy") == 0


def test_a_half_installed_package_is_forgotten_so_that_pip_installs_it_again(
    mend_venv: ModuleType, tmp_path: Path
) -> None:
    for name, complete in (("whole-1.0", True), ("half-1.0", False)):
        folder = tmp_path / f"{name}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Name: x")
        if complete:
            (folder / "INSTALLER").write_text("pip\n")
    (tmp_path / "~alf").mkdir()
    assert sorted(mend_venv.forget_half_installed(tmp_path)) == ["half-1.0.dist-info", "~alf"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["whole-1.0.dist-info"]


def copy_scripts(folder: Path) -> Path:
    """A checkout with nothing but the scripts."""
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_a_path_with_a_space_is_refused_in_one_sentence(tmp_path: Path) -> None:
    root = copy_scripts(tmp_path / "my robots")
    done = run(root / "scripts" / "setup")
    assert done.returncode == 1
    assert "holds a space" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_running_before_set_up_says_what_to_do(tmp_path: Path) -> None:
    done = run(copy_scripts(tmp_path) / "scripts" / "run", "true")
    assert done.returncode == 2
    assert "make setup" in done.stderr


def test_running_with_a_stale_workspace_warns_and_runs(tmp_path: Path) -> None:
    """Tests against nodes of yesterday fail in ways that nobody understands."""
    root = copy_scripts(tmp_path)
    interpreter = root / ".venv" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.touch(mode=0o755)
    (root / ".venv" / ".stamps").mkdir()
    (root / ".venv" / ".stamps" / "environment").write_text("one")
    (root / "ros_ws" / "src").mkdir(parents=True)
    (root / "ros_ws" / "install").mkdir()
    (root / "ros_ws" / "install" / ".stamp").write_text("of yesterday")
    done = run(root / "scripts" / "run", "echo", "done")
    assert done.stdout == "done\n"
    assert "make setup" in done.stderr

    (root / "ros_ws" / "install" / ".stamp").write_text(run(root / "scripts" / "workspace-key").stdout)
    assert run(root / "scripts" / "run", "echo", "done").stderr == ""


def test_commands_run_in_the_projects_environment_from_anywhere(tmp_path: Path) -> None:
    if not (ROOT / ".venv").is_dir():
        pytest.skip("these tests run in an environment that scripts/setup did not make")
    done = run(ROOT / "scripts" / "run", "python", "-c", "import sys; print(sys.prefix)", cwd=tmp_path)
    assert Path(done.stdout.strip()) == ROOT / ".venv"


def test_a_command_that_fails_makes_run_fail() -> None:
    if not (ROOT / ".venv").is_dir():
        pytest.skip("these tests run in an environment that scripts/setup did not make")
    assert run(ROOT / "scripts" / "run", "bash", "-c", "exit 7").returncode == 7


def test_the_workspace_is_rebuilt_when_a_source_changes_also_behind_a_link(tmp_path: Path) -> None:
    root = copy_scripts(tmp_path / "checkout")
    package = root / "ros_ws" / "src" / "package"
    package.mkdir(parents=True)
    (root / ".venv" / ".stamps").mkdir(parents=True)
    (root / ".venv" / ".stamps" / "environment").write_text("one")
    (root / "launch").mkdir()
    (root / "launch" / "arm.launch.py").write_text("1")
    (package / "launch").symlink_to(root / "launch")

    keys = [run(root / "scripts" / "workspace-key").stdout]
    (root / "launch" / "arm.launch.py").write_text("2")
    keys.append(run(root / "scripts" / "workspace-key").stdout)
    (package / "node.py").write_text("")
    keys.append(run(root / "scripts" / "workspace-key").stdout)
    assert len(set(keys)) == 3
    assert run(root / "scripts" / "workspace-key").stdout == keys[-1]


def test_setting_up_twice_does_no_work_twice() -> None:
    if not (ROOT / ".venv" / ".stamps").is_dir():
        pytest.skip("these tests run in an environment that scripts/setup did not make")
    assert run(ROOT / "scripts" / "setup").returncode == 0
    again = run(ROOT / "scripts" / "setup")
    assert again.returncode == 0
    assert [line for line in again.stdout.splitlines() if not line.startswith("setup: ready")] == []
