"""``world2act eval``: what means nothing is refused before a policy is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from world2act_core.cli import USAGE_ERROR, main


@pytest.mark.parametrize("size", ["-5", "0"])
def test_a_frame_without_a_pixel_is_refused(tmp_path: Path, size: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "--policy", "demonstrator", "--suite", "libero_goal", "--out", str(tmp_path / "out")]
    assert main([*command, "--image-size", size]) == USAGE_ERROR
    assert f"--image-size {size} is no size of a frame: name 1 pixel or more" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
