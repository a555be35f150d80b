"""Writes requirements/lock.txt from what is installed in the environment that runs this file.

scripts/run python scripts/lock.py
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements" / "lock.txt"
HEADER = """\
# Made by `scripts/run python scripts/lock.py`; do not edit. The versions that were tested together (CPython 3.11,
# extras ros, libero, language, cosmos, policies, cpu, dev). Used as constraints:
# pip install -c requirements/lock.txt -e '.[ros,libero,language,cosmos,policies,cpu,dev]'
"""


def pins() -> list[str]:
    """``name==version`` of every package that pip installed, without local tags such as ``+cpu``."""
    found = {}
    for package in metadata.distributions():
        # The ROS wheels carry metadata of packages that are not on an index (rclpy, std_msgs ...): pip did not
        # install those, so they have no INSTALLER.
        name = package.metadata["Name"]
        if (package.read_text("INSTALLER") or "").strip() == "pip" and name not in ("pip", "world2act"):
            found[name.lower().replace("_", "-")] = package.version.split("+")[0]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


if __name__ == "__main__":
    LOCK.write_text(HEADER + "\n".join(pins()) + "\n")
    print(f"{len(pins())} packages pinned in {LOCK.name}")
