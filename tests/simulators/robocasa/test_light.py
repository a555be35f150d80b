"""What runs inside RoboCasa's environment needs nothing that is not there."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "rclpy", "pandas", "cv2", "mcap", "diffusers", "transformers", "libero", "robosuite")


def test_the_adapter_and_its_scripts_import_nothing_heavy() -> None:
    code = f"""
import sys
import world2act_core.simulators.robocasa.simulator
import world2act_core.simulators.demonstrators.kitchen
import world2act_core.simulators.remote.server
print([name for name in {HEAVY} if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
