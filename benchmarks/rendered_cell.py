"""Bags of a cell whose truth is known, to try `world2act calibrate` on without a camera (docs/robot-cell.md).

A Panda in MuJoCo with a camera on its hand, a board on the table, lens distortion and noise: `FOLDER/board` for the
intrinsics, `FOLDER/poses` (the arm rests at each) for hand-eye, `FOLDER/wave` for the camera's clock, which is late,
and the arm's model. With --errors: how far what was calibrated is from the truth; exit code 1 beyond the bars.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks._calibration_cell import IN_HAND, Cell, panda_mjcf, wave
from benchmarks._rendered_bags import stops, write_bag
from world2act_core.calibration.poses import difference
from world2act_core.calibration.store import intrinsics_of, read_hand_eye, read_time
from world2act_core.embodiment import Embodiment, load_embodiment

CAMERA = "wrist"
LATE_S = 0.037  # of the camera's stamps in `wave`
BARS = {"fx, fy": (0.5, "%"), "place": (1.0, "mm"), "turn": (0.1, "degrees"), "clock": (2.0, "ms")}


def record(folder: Path, robot: Embodiment, poses: int) -> None:
    """The three bags and the arm's model."""
    cell, folder = Cell(), Path(folder)
    folder.mkdir(parents=True)
    shutil.copy(panda_mjcf(), folder / "panda.xml")
    shown = cell.views_of_board(20, 3)
    images = [(float(k), cell.image(pose)) for k, pose in enumerate(tqdm(shown, "board"))]
    still = np.arange(0.0, len(shown), 0.1)
    joints = cell.joints_for(IN_HAND, poses, 4)
    write_bag(folder / "board", robot, CAMERA, (still, np.tile(joints[0], (len(still), 1))), images)
    write_bag(folder / "poses", robot, CAMERA, *stops(cell, IN_HAND, joints))
    stamps, motion = wave(joints[:8], 6.0, 1)
    taken = np.arange(0.55, 5.4, 0.1)
    rows = [np.array([np.interp(t, stamps, motion[:, k]) for k in range(motion.shape[1])]) for t in taken]
    late = [
        (float(t) + LATE_S, cell.image(cell.seen(IN_HAND, row)))
        for t, row in zip(tqdm(taken, "wave"), rows, strict=True)
    ]
    write_bag(folder / "wave", robot, CAMERA, (stamps, motion), late)
    cell.close()


def errors(stored: Path) -> dict[str, float]:
    """What was calibrated against the truth, in the units of BARS."""
    matrix, true = intrinsics_of(stored, CAMERA).camera.matrix, Cell().camera.matrix
    metres, degrees = difference(read_hand_eye(stored, CAMERA).pose, IN_HAND.camera)
    lens = max(abs(matrix[k, k] / true[k, k] - 1) for k in (0, 1))
    clock = abs(read_time(stored, CAMERA) + LATE_S)
    return {"fx, fy": 100 * lens, "place": 1000 * metres, "turn": degrees, "clock": 1000 * clock}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="new folder of the bags")
    parser.add_argument("--errors", metavar="STORED", type=Path, help="folder of calibrations: print their errors")
    parser.add_argument("--embodiment", default="franka_fr3", help="names topics and joints (default franka_fr3)")
    parser.add_argument("--poses", type=int, default=20)
    args = parser.parse_args()
    if not args.errors:
        record(args.folder, load_embodiment(args.embodiment), args.poses)
        return 0
    found = errors(args.errors)
    for name, value in found.items():
        bar, unit = BARS[name]
        print(f"{name:7} off by {value:.3f} {unit} (bar {bar:g})")
    return 0 if all(found[name] <= BARS[name][0] for name in BARS) else 1


if __name__ == "__main__":
    sys.exit(main())
