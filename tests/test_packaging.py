"""What is published: the wheel, its dependencies, the lock, the interpreters that can run it."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = sorted((ROOT / "world2act_core").rglob("*.py"))
OWN = {"world2act", "world2act_core", "world2act_interfaces"}
# In environments of their own: one wants another torch (docs/policies.md), one another robosuite (docs/robocasa.md).
ELSEWHERE = {"lerobot", "robocasa"}
# Import names of ROS 2 (message packages end in _msgs).
ROS = {"rclpy", "launch", "launch_ros", "ament_index_python", "rosidl_runtime_py", "world2act_interfaces"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level name of everything that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.partition(".")[0]


def declared(*extras: str) -> dict[str, str]:
    """Requirements of the project itself and of some extras: name → what is asked of its version."""
    found = {}
    for entry in importlib.metadata.requires("world2act") or []:
        requirement, _, marker = entry.partition(";")
        extra = re.search(r"extra == [\"'](\w+)[\"']", marker)
        if extra is None or extra.group(1) in extras:
            name = re.match(r"[\w.-]+", requirement)
            assert name is not None
            found[normal(name.group())] = requirement.strip()
    return found


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    lines = (ROOT / "requirements" / "lock.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy of what git knows: a build in the tree would pick up its own leftovers."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    present = b"\0".join(name for name in listed.stdout.split(b"\0") if name and (ROOT / name.decode()).exists())
    pack = ["tar", "-C", str(ROOT), "--null", "-cf", str(source / "source.tar"), "-T", "-"]
    subprocess.run(pack, input=present, check=True)
    subprocess.run(["tar", "-C", str(source), "-xf", str(source / "source.tar")], check=True)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(out), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return zipfile.ZipFile(next(out.glob("world2act-*.whl")))


def test_the_wheel_holds_every_module(wheel: zipfile.ZipFile) -> None:
    modules = {str(file.relative_to(ROOT)) for file in CORE}
    assert modules - set(wheel.namelist()) == set()


def test_the_wheel_holds_the_embodiment_contracts(wheel: zipfile.ZipFile) -> None:
    files = {f"world2act_core/embodiment/files/{name}.yaml" for name in ("franka_fr3", "libero_panda")}
    assert files <= set(wheel.namelist())


def test_the_wheel_holds_the_mappings_of_policy_servers(wheel: zipfile.ZipFile) -> None:
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "world2act_core/policies/mappings").rglob("*.yaml")}
    assert files and files <= set(wheel.namelist())


def test_the_wheel_holds_the_script_of_the_results_page(wheel: zipfile.ZipFile) -> None:
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "world2act_core/recipes/results").glob("*.js")}
    assert files and files <= set(wheel.namelist())


def test_the_wheel_holds_the_message_definitions(wheel: zipfile.ZipFile) -> None:
    """They lie in the ROS package; the core reaches them through a link, which a wheel cannot hold."""
    messages = {file.name for file in (ROOT / "ros_ws/src/world2act_interfaces/msg").glob("*.msg")}
    packed = {name for name in wheel.namelist() if name.startswith("world2act_core/episodes/interfaces/")}
    assert messages
    assert packed == {f"world2act_core/episodes/interfaces/{name}" for name in messages}
    text = (ROOT / "ros_ws/src/world2act_interfaces/msg/ActionChunk.msg").read_bytes()
    assert wheel.read("world2act_core/episodes/interfaces/ActionChunk.msg") == text


def test_the_wheel_holds_the_licence_and_nothing_but_the_core(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {re.sub(r"-[\d.]+\.dist-info", "", top) for top in tops} == {"world2act", "world2act_core"}
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


@pytest.mark.parametrize("module", ["world2act_core", "world2act_core.embodiment", "world2act_core.runtime"])
def test_what_runs_on_the_robot_imports_neither_ros_nor_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'rclpy', 'torch'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("file", CORE, ids=lambda file: str(file.relative_to(ROOT / "world2act_core")))
def test_no_core_file_imports_ros(file: Path) -> None:
    assert [(line, name) for line, name in imports(file) if name in ROS or name.endswith("_msgs")] == []


def test_whatever_the_core_imports_is_declared() -> None:
    """A package that comes along with another today may not tomorrow."""
    wanted = declared(
        "libero", "robocasa", "cosmos", "language", "realsense", "policies", "calibration", "study", "cpu", "gpu"
    )
    providers = importlib.metadata.packages_distributions()
    undeclared = {}
    for file in CORE:
        for line, name in imports(file):
            known = name in sys.stdlib_module_names or name in OWN | ELSEWHERE
            if not known and not {normal(provider) for provider in providers.get(name, [name])} & set(wanted):
                undeclared[name] = f"{file.relative_to(ROOT)}:{line}"
    assert undeclared == {}


def test_the_lock_satisfies_what_set_up_installs(lock: dict[str, str]) -> None:
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in declared("ros", "libero", "language", "cosmos", "dev").values()]
    absent = [item.name for item in wanted if normal(item.name) not in lock]
    refused = [str(item) for item in wanted if not item.specifier.contains(lock.get(normal(item.name), "0"))]
    assert (absent, refused) == ([], [])


def test_the_lock_is_what_the_tests_run_on(lock: dict[str, str]) -> None:
    installed = {}
    for package in importlib.metadata.distributions():
        installed[normal(package.metadata["Name"])] = package.version.split("+")[0]
    assert {name: (pin, installed[name]) for name, pin in lock.items() if installed.get(name, pin) != pin} == {}


def test_the_lock_names_one_opencv_and_no_build_of_one_machine(lock: dict[str, str]) -> None:
    assert [name for name in lock if name.startswith("opencv")] == ["opencv-python"]
    assert [name for name, version in lock.items() if "+" in version] == []


@pytest.mark.parametrize("folder", ["world2act_core", "ros_ws/src", "launch", "scripts"])
def test_the_code_runs_on_python_3_10(folder: str) -> None:
    """Humble's interpreter is 3.10; vermin knows which syntax, modules and arguments came later."""
    files = [str(file) for file in sorted((ROOT / folder).rglob("*.py"))]
    if not files:
        pytest.fail(f"{folder} holds no Python file: the list of folders above is out of date")
    command = [
        str(Path(sysconfig.get_path("scripts")) / "vermin"),
        "--target=3.10-",
        "--violations",
        "--no-tips",
        "--quiet",
        *files,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
