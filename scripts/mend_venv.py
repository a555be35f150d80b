"""Repairs of the virtual environment that runs this file; `scripts/setup` calls it around `pip install`.

--half-installed  forget packages that a killed pip left half installed, so that pip lays them down again
--ros-wheels      point the CMake files of the ROS wheels at this interpreter instead of the one they were built with
"""

from __future__ import annotations

import argparse
import re
import shutil
import sysconfig
from pathlib import Path

SITE = Path(sysconfig.get_path("purelib"))


def forget_half_installed(site: Path = SITE) -> list[str]:
    """Remove the metadata of packages without INSTALLER, which pip writes when every file is in place."""
    broken = [entry for entry in site.glob("*.dist-info") if not (entry / "INSTALLER").is_file()]
    stashed = list(site.glob("~*"))  # where pip keeps what it is about to replace
    for entry in broken + stashed:
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return [entry.name for entry in broken + stashed]


def repair_exports(share: Path, include: str, numpy_include: str) -> int:
    """Replace the build machine's include folders in ``share/*/cmake/*Export.cmake``; how many files changed."""
    built_at = r"/opt/python/cp\d+-cp\d+"
    changed = 0
    for file in sorted(share.glob("*/cmake/*Export.cmake")):
        text = file.read_text()
        mended = re.sub(
            built_at + r"/lib/python3\.\d+/site-packages/numpy/_core/include", lambda _: numpy_include, text
        )
        mended = re.sub(built_at + r"/include/python3\.\d+", lambda _: include, mended)
        if mended != text:
            file.write_text(mended)
            changed += 1
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half-installed", action="store_true")
    parser.add_argument("--ros-wheels", action="store_true")
    args = parser.parse_args()
    if args.half_installed:
        print("forgotten:", ", ".join(forget_half_installed()) or "nothing")
    if args.ros_wheels:
        import numpy

        share = Path(sysconfig.get_path("data")) / "share"
        changed = repair_exports(share, sysconfig.get_path("include"), numpy.get_include())
        print(f"CMake files repaired: {changed}")


if __name__ == "__main__":
    main()
