"""docker/: what can be known of images and compose file without a container engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from world2act_core.cli import build_parser
from world2act_core.runtime.graphs import describe

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
COMPOSE = ROOT / "docker" / "compose.yaml"
RULES = ROOT / "docker" / "udev" / "70-world2act-cameras.rules"

Instruction = tuple[str, str]


def instructions(file: Path) -> list[Instruction]:
    """Keyword and arguments; continued lines are one."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def of_kind(file: Path, keyword: str) -> list[str]:
    return [arguments for word, arguments in instructions(file) if word == keyword]


def tool(name: str) -> str:
    """A linter from this environment or from the system; without it the test is skipped."""
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: it comes with the extra dev")
    return found


@pytest.fixture(scope="module")
def extras() -> set[str]:
    text = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    return set(re.findall(r"^([a-z]+) = \[", text, re.MULTILINE))


@pytest.fixture(scope="module")
def context() -> set[str]:
    """Files that git knows and .dockerignore lets into an image."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "everything is left out but what is named"
    named = [line[1:] for line in lines if line.startswith("!")]
    return {
        file
        for file in listed.stdout.splitlines()
        if any(file == name or file.startswith(f"{name}/") for name in named)
    }


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file with every variable at its default."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", COMPOSE.read_text())
    assert "${" not in text, "a variable has no default: a profile that does not need it would not start"
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def test_dockerfiles_are_clean_to_hadolint() -> None:
    done = subprocess.run(
        [tool("hadolint"), "--no-color", *map(str, DOCKERFILES)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_scripts_are_clean_to_shellcheck() -> None:
    scripts = [ROOT / "scripts" / name for name in ("setup", "run", "env.sh", "workspace-key")]
    scripts += [ROOT / "docker" / "make-user", ROOT / ".ci" / "run"]
    done = subprocess.run(
        [tool("shellcheck"), "-x", "-P", str(ROOT), *map(str, scripts)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(not shutil.which("docker"), reason="docker is not installed")
def test_docker_compose_accepts_the_file() -> None:
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose plugin here")
    command = ["docker", "compose", "-f", str(COMPOSE), "--profile", "*", "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_there_is_an_image_for_robot_training_and_both_simulators() -> None:
    names = {file.name.partition(".")[0] for file in DOCKERFILES}
    assert names == {"robot", "training", "libero", "robocasa"}


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
class TestImage:
    def test_its_base_is_pinned_by_tag_and_digest(self, file: Path) -> None:
        assert [re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base) for base in of_kind(file, "FROM")] != [None]

    def test_it_is_set_up_by_the_script_that_make_runs(self, file: Path) -> None:
        calls = [run for run in of_kind(file, "RUN") if "scripts/setup" in run]
        assert calls
        known = (ROOT / "scripts" / "setup").read_text()
        for option in (word for call in calls for word in call.partition("scripts/setup")[2].split()):
            assert f"{option})" in known, f"scripts/setup has no {option}"

    def test_its_extras_exist_and_name_one_onnx_runtime(self, file: Path, extras: set[str]) -> None:
        for argument in of_kind(file, "ARG"):
            name, _, value = argument.partition("=")
            if name == "EXTRAS":
                assert set(value.split(",")) <= extras
                assert len({"cpu", "gpu"} & set(value.split(","))) == 1

    def test_what_it_copies_is_in_git_and_let_through(self, file: Path, context: set[str]) -> None:
        for arguments in of_kind(file, "COPY"):
            *sources, _ = arguments.split()
            for source in sources:
                found = [name for name in context if source == "." or name == source or name.startswith(source)]
                assert found, f"{source} is not there, not in git, or left out by .dockerignore"

    def test_packages_are_a_layer_below_the_code(self, file: Path) -> None:
        """A change of the code must not install gigabytes again."""
        steps = [arguments for word, arguments in instructions(file) if word in ("COPY", "RUN")]
        packages = next(i for i, step in enumerate(steps) if "scripts/setup" in step)
        assert packages < steps.index(". .")
        before = " ".join(steps[:packages])
        assert not re.search(r"world2act_core/ |ros_ws|launch|recipes", before)

    def test_it_does_not_run_as_root(self, file: Path) -> None:
        assert of_kind(file, "USER") == ["$USER_ID"]
        assert "USER_ID=1000" in of_kind(file, "ARG")
        words = [word for word, _ in instructions(file)]
        assert "RUN" not in words[words.index("USER") :]

    def test_it_says_whether_it_is_healthy(self, file: Path) -> None:
        (check,) = of_kind(file, "HEALTHCHECK")
        assert "--interval=" in check
        assert "--timeout=" in check


def test_a_user_of_id_0_is_refused() -> None:
    done = subprocess.run([ROOT / "docker" / "make-user", "0", "0"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "do not run as root" in done.stderr


def test_links_in_an_image_lead_to_what_is_in_it(context: set[str]) -> None:
    """ros_ws links to launch/, the core to the messages of ros_ws."""
    folders = {str(parent) for name in context for parent in Path(name).parents}
    links = [ROOT / name for name in context if (ROOT / name).is_symlink()]
    assert links
    assert {str(link.resolve().relative_to(ROOT)) for link in links} <= context | folders


def test_an_image_holds_no_environment_no_data_and_no_history(context: set[str]) -> None:
    tops = {name.partition("/")[0] for name in context}
    assert not tops & {".git", ".venv", ".ci", "runs", "bags", "docs", "tests", "log"}
    assert {"world2act_core", "ros_ws", "launch", "scripts", "requirements", "pyproject.toml"} <= tops
    assert not [name for name in context if re.search(r"\.env$|\.pem$|\.key$", name)]


# What our services say, by the names of the Compose Specification; an engine refuses a file with any other.
SERVICE_KEYS = {
    *("build", "cap_drop", "command", "deploy", "device_cgroup_rules", "environment", "healthcheck", "image", "init"),
    *("ipc", "network_mode", "profiles", "restart", "security_opt", "stop_grace_period", "stop_signal", "ulimits"),
    "volumes",
}


def services(compose: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    assert compose["services"]
    yield from compose["services"].items()


def test_services_are_built_from_files_that_are_there_with_arguments_that_they_take(compose: dict[str, Any]) -> None:
    for name, service in services(compose):
        assert set(service) <= SERVICE_KEYS, name
        build = service["build"]
        assert (COMPOSE.parent / build["context"]).resolve() == ROOT
        file = ROOT / build["dockerfile"]
        assert file in DOCKERFILES
        gpu = "-gpu" if name.endswith("-gpu") else ""
        assert service["image"] == f"world2act/{file.name.partition('.')[0]}{gpu}"
        taken = {argument.partition("=")[0] for argument in of_kind(file, "ARG")}
        assert set(build["args"]) <= taken, name
        assert {"USER_ID", "GROUP_ID"} <= set(build["args"])


def test_each_way_to_use_it_is_a_profile_and_nothing_starts_unasked(compose: dict[str, Any]) -> None:
    profiles = {name: service["profiles"] for name, service in services(compose)}
    for name in ("real-arm", "sim-arm", "post-train"):
        assert profiles[name] == [name]
    assert all(profiles.values())


def test_fast_dds_reaches_the_machine_and_shares_its_memory(compose: dict[str, Any]) -> None:
    for name, service in services(compose):
        assert (service["network_mode"], service["ipc"]) == ("host", "host"), name
        assert "ports" not in service  # mean nothing on the host's network
    profile = re.search(r"FASTDDS_DEFAULT_PROFILES_FILE:-\$_w2a_root/(\S+?)}", (ROOT / "scripts/env.sh").read_text())
    assert profile is not None
    assert (ROOT / profile.group(1)).is_file()  # the images' entry point sources that file


def test_no_service_is_privileged_or_starts_again_by_itself(compose: dict[str, Any]) -> None:
    """After a crash somebody looks before the arm moves again."""
    for name, service in services(compose):
        assert service["restart"] == "no", name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_folders_of_the_host_are_not_made_by_the_engine(compose: dict[str, Any]) -> None:
    """It would make them as root, and the images could not write there."""
    for name, service in services(compose):
        binds = [volume for volume in service["volumes"] if volume["type"] == "bind"]
        assert binds
        assert [volume["bind"] for volume in binds] == [{"create_host_path": False}] * len(binds), name
        assert {volume["source"] for volume in service["volumes"] if volume["type"] == "volume"} <= set(
            compose["volumes"]
        )


def test_cameras_can_be_plugged_in_again(compose: dict[str, Any]) -> None:
    arm = compose["services"]["real-arm"]
    assert {"/dev", "/run/udev"} <= {volume["target"] for volume in arm["volumes"]}
    majors = [rule.split()[1].partition(":")[0] for rule in arm["device_cgroup_rules"]]
    assert majors == ["81", "189"]  # video4linux and USB in the kernel's list of devices


def test_what_installs_gpu_packages_is_given_the_gpus(compose: dict[str, Any]) -> None:
    """A container sees none of the host's GPUs unless it asks for them."""
    for name, service in services(compose):
        build = service["build"]
        extras = build["args"].get("EXTRAS") or dict(
            argument.partition("=")[::2] for argument in of_kind(ROOT / build["dockerfile"], "ARG")
        ).get("EXTRAS", "")
        wants = "gpu" in re.findall(r"\w+", extras)
        devices = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
        assert any("gpu" in device["capabilities"] for device in devices) == wants, name


def test_the_arm_with_a_gpu_is_the_same_service_otherwise(compose: dict[str, Any]) -> None:
    own = {"profiles", "image", "build", "deploy"}
    plain, gpu = ({k: v for k, v in compose["services"][name].items() if k not in own}
                  for name in ("real-arm", "real-arm-gpu"))  # fmt: skip
    assert plain == gpu


def test_the_command_loop_may_have_the_priority_that_it_asks_for(compose: dict[str, Any]) -> None:
    node = (ROOT / "ros_ws/src/world2act/world2act/command.py").read_text()
    asked = re.search(r'"thread_priority", (\d+),', node)
    assert asked is not None
    for name in ("real-arm", "sim-arm"):
        assert compose["services"][name]["ulimits"]["rtprio"] >= int(asked.group(1))


def test_commands_of_services_exist(compose: dict[str, Any]) -> None:
    for name, service in services(compose):
        command = service.get("command", "").split()
        if command[:1] == ["world2act"] and "--help" not in command:
            build_parser([command[1]]).parse_args(command[1:])
        elif command[:2] == ["ros2", "launch"]:
            assert (ROOT / "launch" / command[3]).is_file()
            describe(command[3].partition(".")[0])
        elif command[:2] == ["world2act", "post-train"]:
            build_parser(["post-train"])
        else:
            assert command[:2] in ([], ["ray", "start"]), name


def test_every_service_says_whether_it_is_healthy_or_is_a_job_that_ends(compose: dict[str, Any]) -> None:
    for name, service in services(compose):
        check = service.get("healthcheck", {})  # else the image's own
        if check.get("disable"):
            assert name == "gate"
        elif check:
            assert check["test"][:2] == ["CMD", "/opt/world2act/scripts/run"]


def udev_rules() -> list[str]:
    return [line for line in RULES.read_text().splitlines() if line and not line.startswith("#")]


def test_udev_rules_are_rules() -> None:
    pair = r'[A-Z_]+(\{[\w./]+\})?(==|!=|\+=|=)"[^"]*"'
    for rule in udev_rules():
        assert re.fullmatch(rf"{pair}(, {pair})*", rule), rule
    text = "\n".join(udev_rules())
    assert set(re.findall(r'GOTO="(\w+)"', text)) == set(re.findall(r'LABEL="(\w+)"', text))


def test_udev_rules_give_cameras_to_a_group_of_the_images_user() -> None:
    script = (ROOT / "docker" / "make-user").read_text()
    groups = re.search(r"--groups (\S+)", script)
    assert groups is not None
    given = {group for rule in udev_rules() for group in re.findall(r'GROUP="(\w+)"', rule)}
    assert given <= set(groups.group(1).split(","))
    assert given
    assert "video" in groups.group(1).split(",")


def test_scripts_of_the_images_can_be_executed() -> None:
    for name in ("docker/make-user", "scripts/setup", "scripts/run"):
        assert os.access(ROOT / name, os.X_OK)
