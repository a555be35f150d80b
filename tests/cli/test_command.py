"""The `world2act` command: quick to answer, one sentence for what a user can mend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from world2act_core import __version__
from world2act_core.cli import commands, main
from world2act_core.embodiment import shipped_embodiments

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as users start it, in a process of its own."""
    import os

    return subprocess.run(
        [sys.executable, "-m", "world2act_core.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", commands())
def test_every_command_explains_itself_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert f"  world2act {name}" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from world2act_core.cli import build_parser, commands
build_parser(commands())
print(sorted({"torch", "matplotlib", "mujoco", "libero", "rclpy", "cv2", "av"} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.strip() == f"world2act {__version__}"


def test_an_error_the_user_can_mend_is_one_sentence_and_exit_code_2() -> None:
    done = run("embodiment", "check", "no_such_robot")
    assert done.returncode == 2
    assert done.stderr.startswith("world2act embodiment: no embodiment 'no_such_robot'")
    assert len(done.stderr.strip().splitlines()) == 1


def test_debugging_shows_the_traceback() -> None:
    done = run("embodiment", "check", "no_such_robot", WORLD2ACT_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_an_unknown_command_lists_what_there_is() -> None:
    done = run("fly")
    assert done.returncode == 2
    assert [name for name in commands() if name not in done.stderr] == []


def test_embodiment_list_names_every_shipped_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embodiment", "list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == shipped_embodiments()


def test_embodiment_check_says_what_the_contract_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embodiment", "check", "libero_panda"]) == 0
    said = capsys.readouterr().out
    assert "20 Hz, chunks of 4 steps" in said
    assert "output    arm_command on arm_command" in said
    assert "-1 opens, 1 closes" in said
