"""The checks themselves, one function each."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from world2act_core.doctor.probe import NotInstalledError, ProbeError, probe
from world2act_core.doctor.types import Check, Finding
from world2act_core.errors import MissingExtraError
from world2act_core.runtime.graphs import dds_environment
from world2act_core.simulators.opening import family_of
from world2act_core.simulators.protocol import PLACEHOLDER
from world2act_core.simulators.robocasa.assets import DOWNLOAD

ROOT = Path(__file__).resolve().parents[2]
SETUP = "make setup"
ROBOCASA_SETUP = "scripts/setup --robocasa"
DISK_GB = 3.0  # what a run of the demo and its bags may take, with room to spare
SHARED_MEMORY_MB = 192  # three 64 MB segments of the Fast DDS profile: simulator, policy, recorder


def python() -> Finding:
    version = platform.python_version()
    where = Path(sys.prefix).name if sys.prefix != sys.base_prefix else "no virtual environment"
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        return Finding("broken", f"CPython {version}; 3.10 to 3.13 are tested", SETUP)
    return Finding("ok", f"CPython {version} ({where})")


def packages() -> Finding:
    """The packages that every part of World2Act needs, and that there is one OpenCV."""
    try:
        requirements = importlib.metadata.requires("world2act") or []
    except importlib.metadata.PackageNotFoundError:
        return Finding("missing", "the distribution world2act is not installed in this environment", SETUP)
    names = [re.split(r"[\s<>=!~;\[]", entry, maxsplit=1)[0] for entry in requirements if "extra ==" not in entry]
    installed = {(dist.metadata["Name"] or "").lower().replace("_", "-") for dist in importlib.metadata.distributions()}
    if absent := [name for name in names if name.lower() not in installed]:
        return Finding("missing", f"not installed: {', '.join(absent)}", SETUP)
    opencv = sorted(name for name in installed if re.fullmatch(r"opencv-(contrib-)?python(-headless)?", name))
    if len(opencv) > 1:
        mend = f"{_in_environment('pip')} uninstall -y {' '.join(opencv)} && {_install('libero')}"
        return Finding("broken", f"{' and '.join(opencv)} overwrite each other: keep one", mend)
    return Finding("ok", f"all {len(names)} that the core needs")


def torch() -> Finding:
    code = """
import torch
gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
answer([torch.__version__, gpus])"""
    try:
        version, gpus = probe(code)
    except NotInstalledError:
        return Finding("missing", "torch is not installed", SETUP)
    except ProbeError as error:
        return Finding("broken", str(error), SETUP)
    return Finding("ok", f"{version}, {', '.join(gpus) or 'on the CPU (no CUDA device)'}")


def ros() -> Finding:
    code = """
import os, sys, rclpy
from rclpy.utilities import get_rmw_implementation_identifier
import sensor_msgs.msg, diagnostic_msgs.msg
origin = "wheels" if rclpy.__file__.startswith(sys.prefix) else os.environ.get("ROS_DISTRO", "apt")
answer([origin, get_rmw_implementation_identifier()])"""
    try:
        origin, rmw = probe(code, extra=_dds())
    except NotInstalledError as error:
        return Finding("missing", f"rclpy cannot be imported: {error}", SETUP)
    except ProbeError as error:
        return Finding("broken", str(error), SETUP)
    return Finding("ok", f"rclpy from {origin}, {rmw}")


def workspace() -> Finding:
    """Whether ros_ws is built, importable and no older than its sources."""
    try:
        probe("import world2act_interfaces.msg as m, world2act_interfaces.action\nanswer(m.ActionChunk().horizon)")
    except NotInstalledError:
        return Finding("missing", "ros_ws is not built", SETUP)
    except ProbeError as error:
        return Finding("broken", str(error), SETUP)
    key_maker = ROOT / "scripts" / "workspace-key"
    if not key_maker.is_file():
        return Finding("ok", "world2act_interfaces can be imported")
    key = subprocess.run([str(key_maker)], capture_output=True, text=True, check=False)
    stamp = ROOT / "ros_ws" / "install" / ".stamp"
    if key.returncode or not stamp.is_file() or stamp.read_text().strip() != key.stdout.strip():
        return Finding("broken", "ros_ws changed since it was built", SETUP)
    return Finding("ok", "built and up to date")


def fast_dds() -> Finding:
    """The shared-memory profile: without it most camera frames are lost between processes."""
    profile = os.environ.get("FASTDDS_DEFAULT_PROFILES_FILE") or dds_environment().get("FASTDDS_DEFAULT_PROFILES_FILE")
    if not profile:
        return Finding("missing", "launch/fastdds_shm.xml is not there", "git checkout -- launch/fastdds_shm.xml")
    if not Path(profile).is_file():
        return Finding("broken", f"{profile} does not exist", "unset FASTDDS_DEFAULT_PROFILES_FILE")
    try:
        free_mb = shutil.disk_usage("/dev/shm").free / 1e6
    except OSError as error:
        return Finding("broken", f"no shared memory: {error}", "mount -t tmpfs -o size=1g tmpfs /dev/shm")
    if free_mb < SHARED_MEMORY_MB:
        detail = f"/dev/shm has {free_mb:.0f} MB free, the profile wants {SHARED_MEMORY_MB}"
        return Finding("broken", detail, "mount -o remount,size=1g /dev/shm (in a container: --shm-size=1g)")
    return Finding("ok", f"{Path(profile).name}, /dev/shm {free_mb:.0f} MB free")


def libero() -> Finding:
    code = """
from world2act_core.simulators.libero_package import load_task
task = load_task("libero_goal", 8)
answer([task.instruction, len(task.initial_states)])"""
    try:
        instruction, count = probe(code)
    except ProbeError as error:
        missing = isinstance(error, NotInstalledError) or "MissingExtraError" in str(error)
        return Finding("missing" if missing else "broken", _said(error), SETUP)
    return Finding("ok", f"libero_goal 8: {instruction!r}, {count} initial states")


def rendering() -> Finding:
    """Render one frame of a lit ball and look whether there is anything on it."""
    code = """
import os
from world2act_core.simulators.rendering import choose_backend
backend = choose_backend()
import mujoco
xml = '<mujoco><worldbody><light pos="0 0 3"/><geom size=".5" rgba="1 0 0 1"/>'
xml += '<camera pos="0 -2 0" xyaxes="1 0 0 0 0 1"/></worldbody></mujoco>'
model = mujoco.MjModel.from_xml_string(xml)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 64, 64) as renderer:
    renderer.update_scene(data, 0)
    frame = renderer.render()
answer([backend, int(frame[..., 0].max()) - int(frame[..., 2].max())])
os._exit(0)  # EGL may crash while Python shuts down"""
    mend = "apt-get install -y libosmesa6 libegl1 libgl1"
    try:
        backend, red = probe(code)
    except NotInstalledError as error:
        return Finding("missing", str(error), SETUP)
    except ProbeError as error:
        return Finding("broken", _said(error), mend)
    if red < 30:
        return Finding("broken", f"{backend} renders a blank frame", mend)
    return Finding("ok", f"{backend} rendered a frame")


def robocasa() -> Finding:
    """RoboCasa lives in an environment of its own: it wants another robosuite and another MuJoCo than LIBERO."""
    try:
        interpreter = family_of("robocasa").interpreter()
    except MissingExtraError as error:
        return Finding("missing", str(error).partition(": ")[0], ROBOCASA_SETUP)
    code = f"""
import sys
sys.path.append({str(ROOT)!r})
from world2act_core.errors import MissingExtraError
from world2act_core.simulators.robocasa import assets, package
try:
    found = package.import_robocasa()
    kitchens = [found.kind, str(found.assets)]
except MissingExtraError as error:
    kitchens = ["", str(error)]
answer([package.versions(), *kitchens])"""
    try:
        versions, kind, said = probe(code, python=interpreter)
    except ProbeError as error:
        return Finding("broken", _said(error), ROBOCASA_SETUP)
    installed = f"{versions['rpent-robocasa365']}, robosuite {versions['robosuite']}, MuJoCo {versions['mujoco']}"
    if not kind:
        return Finding("missing", f"{installed}; {said.partition(': ')[0]}", DOWNLOAD)
    kitchens = "placeholder kitchens, no results about RoboCasa" if kind == PLACEHOLDER else "its own kitchens"
    return Finding("ok", f"{installed}; {kitchens} in {said}")


def calibration() -> Finding:
    """What ``world2act calibrate`` stored here for robots whose contract is shipped: whole, and not too old."""
    from world2act_core.calibration.files import CAMERA_INFO
    from world2act_core.calibration.watch import calibration_warnings
    from world2act_core.embodiment import load_embodiment, shipped_embodiments

    end, looked_at, said = f".{CAMERA_INFO}.yaml", list[str](), list[str]()
    for folder in (Path("calibration") / name for name in shipped_embodiments()):
        robot = load_embodiment(folder.name)
        cameras = [name for name in robot.cameras if (folder / f"{name}{end}").is_file()]
        looked_at += [f"{folder.name}/{name}" for name in cameras]
        said += calibration_warnings(folder, robot, cameras=cameras, hand_eye=False)
    if not looked_at:
        return Finding("missing", "no camera of a robot was calibrated here", "docs/robot-cell.md, step 2")
    if said:
        return Finding("broken", "; ".join(said), "world2act calibrate check live --embodiment ROBOT --camera CAMERA")
    return Finding("ok", ", ".join(looked_at))


def realsense() -> Finding:
    code = """
import pyrealsense2 as rs
answer([d.get_info(rs.camera_info.name) for d in rs.context().query_devices()])"""
    mend = _install("realsense")
    try:
        cameras = probe(code)
    except NotInstalledError:
        return Finding("missing", "pyrealsense2 is not installed", mend)
    except ProbeError as error:
        return Finding("broken", _said(error), "apt-get install -y libusb-1.0-0")
    return Finding("ok", f"cameras: {', '.join(cameras) or 'none connected'}")


def cosmos() -> Finding:
    """Only looks at versions: importing diffusers costs seconds."""
    mend = _install("cosmos")
    try:
        versions = [f"{name} {importlib.metadata.version(name)}" for name in ("diffusers", "transformers")]
    except importlib.metadata.PackageNotFoundError as error:
        return Finding("missing", f"{error.name} is not installed", mend)
    guarded = importlib.util.find_spec("cosmos_guardrail") is not None
    guardrail = "with guardrail" if guarded else "no cosmos-guardrail, without which NVIDIA's weights may not be used"
    return Finding("ok", f"{', '.join(versions)}, {guardrail}")


def onnx_runtime() -> Finding:
    code = "import onnxruntime\nanswer([onnxruntime.__version__, onnxruntime.get_available_providers()])"
    try:
        version, providers = probe(code)
    except NotInstalledError:
        return Finding("missing", "onnxruntime is not installed", _install("cpu"))
    except ProbeError as error:
        return Finding("broken", _said(error), _install("cpu"))
    names = [provider.removesuffix("ExecutionProvider") for provider in providers]
    return Finding("ok", f"{version}: {', '.join(names)}")


def ros2_launch() -> Finding:
    """Upstream's launch has no wheels; ``world2act up`` starts the same graph without it."""
    absent = [name for name in ("launch", "launch_ros") if importlib.util.find_spec(name) is None]
    if shutil.which("ros2") is None:
        absent.append("the command ros2")
    if absent:
        detail = f"no {', '.join(absent)}; `world2act up` starts the same graphs without"
        return Finding("missing", detail, "apt-get install -y ros-jazzy-ros-base (Ubuntu 24.04), source it, make setup")
    return Finding("ok", f"{shutil.which('ros2')}")


def disk() -> Finding:
    here = ROOT if os.access(ROOT, os.W_OK) else Path.cwd()
    free_gb = shutil.disk_usage(here).free / 1e9
    if free_gb < DISK_GB:
        return Finding(
            "broken",
            f"{free_gb:.1f} GB free, runs want {DISK_GB:g}",
            "du -sh runs/* | sort -h, then remove runs that nobody needs",
        )
    return Finding("ok", f"{free_gb:.0f} GB free")


def machine() -> Finding:
    cores = len(os.sched_getaffinity(0))
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Finding("ok", f"{cores} core{'s' if cores > 1 else ''}, {memory_gb:.0f} GB of memory")


def _in_environment(command: str) -> str:
    return f"scripts/run {command}" if (ROOT / "scripts" / "run").is_file() else command


def _install(extra: str) -> str:
    """The command that adds an extra: to this checkout's environment, or to wherever the wheel was installed."""
    if (ROOT / "scripts" / "run").is_file():
        return f"scripts/run pip install -c requirements/lock.txt -e '.[{extra}]'"
    return f"pip install 'world2act[{extra}]'"


def _dds() -> dict[str, str]:
    return {name: value for name, value in dds_environment().items() if name not in os.environ}


def _said(error: ProbeError) -> str:
    """The message of an exception of ours without its class."""
    return re.sub(r"^world2act_core\.[\w.]+: ", "", str(error))


CHECKS = (
    Check("Python", True, python),
    Check("packages", True, packages),
    Check("torch", True, torch),
    Check("ROS 2", True, ros),
    Check("ros_ws", True, workspace),
    Check("Fast DDS profile", True, fast_dds),
    Check("LIBERO", True, libero),
    Check("rendering", True, rendering),
    Check("disk", True, disk),
    Check("machine", True, machine),
    Check("ros2 launch", False, ros2_launch),
    Check("ONNX Runtime", False, onnx_runtime),
    Check("RealSense", False, realsense),
    Check("calibration", False, calibration),
    Check("Cosmos", False, cosmos),
    Check("RoboCasa", False, robocasa),
)
