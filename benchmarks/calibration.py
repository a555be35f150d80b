"""How exact calibration is, against a known truth: the error table, and error against the number of poses.

Run: ``python benchmarks/calibration.py [--seeds 10] [--rendered 1] [--plot docs/images/calibration.png]``. "corners":
true corners with 0.2 px of Gaussian noise, over many draws. "rendered": images rendered in MuJoCo with lens distortion
and sensor noise, detected as any image is. The arm's poses are exact: the figures are the camera's part of the error.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks._calibration_cell import IN_HAND, TO_HAND, Cell, Truth, wave
from benchmarks._machine import machine
from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.detection import BoardDetector, View
from world2act_core.calibration.hand_eye import Sample, calibrate_hand_eye
from world2act_core.calibration.intrinsics import Intrinsics, calibrate_intrinsics
from world2act_core.calibration.poses import difference
from world2act_core.calibration.time_offset import calibrate_time
from world2act_core.calibration.track import ArmTrack
from world2act_core.types import Array

NOISE_PX = 0.2
COUNTS = (8, 10, 15, 20, 30, 45)
POOL = 60
LATE_S = 0.037
Look = Callable[[Array, np.random.Generator], View | None]


def corners(cell: Cell) -> Look:
    return lambda board, rng: cell.corners(board, rng, NOISE_PX)


def rendered(cell: Cell, more_px: float = 0.0) -> Look:
    """Views of rendered images, with further noise on the detected corners if asked for."""
    detector = BoardDetector(cell.board)

    def look(board: Array, rng: np.random.Generator) -> View | None:
        found = detector.detect(cell.image(board), "")
        if not isinstance(found, View):
            return None
        return replace(found, pixels=found.pixels + rng.normal(0.0, more_px, found.pixels.shape))

    return look


def focal_error(cell: Cell, result: Intrinsics) -> list[float]:
    """Errors of fx, fy (%), cx, cy (px), and at the worst corner of the image (px)."""
    found, true = result.camera.parameters, cell.camera.parameters
    width, height = cell.lens.size
    rim = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], float)
    rays = np.column_stack([cell.camera.rays(rim), np.ones(4)])
    off = np.linalg.norm(result.camera.project(np.eye(4), rays) - rim, axis=1).max()
    relative = [100 * abs(found[name] / true[name] - 1) for name in ("fx", "fy")]
    return [*relative, *(abs(found[name] - true[name]) for name in ("cx", "cy")), float(off)]


def intrinsics(cell: Cell, look: Look, count: int, seed: int) -> list[float] | None:
    rng = np.random.default_rng(seed)
    views = [view for pose in cell.views_of_board(count, 100 + seed) if (view := look(pose, rng))]
    try:
        return focal_error(cell, calibrate_intrinsics(views))
    except CalibrationError:
        return None


def hand_eye(cell: Cell, truth: Truth, look: Look, count: int, seed: int) -> list[float] | None:
    """Errors of the camera's place: mm, degrees."""
    rng = np.random.default_rng(seed)
    pool = cell.joints_for(truth, POOL, 0)
    samples = []
    for joints in [pool[k] for k in rng.permutation(POOL)[:count]]:
        if view := look(cell.seen(truth, joints), rng):
            samples.append(Sample(view, cell.hand(joints)))
    try:
        metres, degrees = difference(calibrate_hand_eye(samples, cell.camera, truth.kind).camera_pose, truth.camera)
    except CalibrationError:
        return None
    return [1000 * metres, degrees]


def time_offset(cell: Cell, truth: Truth, seed: int) -> list[float] | None:
    """Errors of the offset in ms: refined, by correlation alone. 10 s at 15 Hz, arm at 100 Hz."""
    rng = np.random.default_rng(seed)
    stamps, motion = wave(cell.joints_for(truth, 8, 0), 10.0, seed)
    views = []
    for taken in np.arange(0.01, 9.9, 1 / 15):
        seen = cell.seen(truth, np.array([np.interp(taken, stamps, motion[:, k]) for k in range(7)]))
        view = cell.corners(seen, rng, NOISE_PX) if seen[2, 2] > 0.35 else None
        if view is not None and len(view.ids) >= 12:
            views.append(replace(view, stamp_s=taken + LATE_S))
    try:
        track = ArmTrack(stamps, np.stack([cell.hand(row) for row in motion]), "wave")
        found = calibrate_time(views, track, cell.camera, truth.kind)
    except CalibrationError as error:
        print(f"  time offset, seed {seed}: {error}")
        return None
    return [1000 * abs(found.offset_s + LATE_S), 1000 * abs(found.coarse_s + LATE_S)]


def line(name: str, units: Sequence[str], rows: Sequence[list[float] | None]) -> None:
    """One line of the table: median and largest of each error."""
    kept = np.array([row for row in rows if row is not None])
    if not len(kept):
        print(f"{name:<42} none of {len(rows)} determined")
        return
    parts = [f"{np.median(kept[:, k]):8.4f} /{kept[:, k].max():8.4f} {unit}" for k, unit in enumerate(units)]
    print(f"{name:<42} {'   '.join(parts)}   ({len(kept)} of {len(rows)})", flush=True)


def table(cell: Cell, seeds: int, drawn: int) -> None:
    print(f"errors: median / largest of {seeds} draws (corners) or {drawn} (rendered); 30 poses, {NOISE_PX:g} px")
    lens, place = ("% fx", "% fy", "px cx", "px cy", "px corner"), ("mm", "deg")
    line("intrinsics, corners", lens, [intrinsics(cell, corners(cell), 30, s) for s in range(seeds)])
    for truth in (IN_HAND, TO_HAND):
        line(f"{truth.kind}, corners", place, [hand_eye(cell, truth, corners(cell), 30, s) for s in range(seeds)])
    for truth in (IN_HAND, TO_HAND):
        offsets = [time_offset(cell, truth, s) for s in range(seeds)]
        line(f"time offset, {truth.kind}, corners", ("ms", "ms by correlation alone"), offsets)
    if drawn:
        line("intrinsics, rendered", lens, [intrinsics(cell, rendered(cell), 30, s) for s in range(drawn)])
        for truth in (IN_HAND, TO_HAND):
            noisy = rendered(cell, NOISE_PX)
            rows = [hand_eye(cell, truth, noisy, 30, s) for s in range(drawn)]
            line(f"{truth.kind}, rendered and {NOISE_PX:g} px", place, rows)


def curves(cell: Cell, seeds: int) -> dict[str, dict[int, list[float]]]:
    """Median errors by number of poses, corners with noise; what could not be determined is left out."""
    found: dict[str, dict[int, list[float]]] = {}
    for truth in (IN_HAND, TO_HAND):
        for count in COUNTS:
            rows = [row for s in range(seeds) if (row := hand_eye(cell, truth, corners(cell), count, s))]
            line(f"{truth.kind}, {count} poses", ("mm", "deg"), rows)
            found.setdefault(truth.kind, {})[count] = np.array(rows).T.tolist()
    for count in COUNTS:
        rows = [row[:1] for s in range(seeds) if (row := intrinsics(cell, corners(cell), count, s))]
        line(f"intrinsics, {count} views", ("% fx",), rows)
        found.setdefault("intrinsics", {})[count] = np.array(rows).T.tolist()
    return found


def plot(found: dict[str, dict[int, list[float]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    panels = (("hand-eye, translation (mm)", 0, 1.0), ("hand-eye, rotation (degrees)", 1, 0.1), ("fx (%)", 0, 0.5))
    for axes, (title, number, bound) in zip(figure.subplots(1, 3), panels, strict=True):
        for name, rows in found.items():
            if (name == "intrinsics") != title.startswith("fx"):
                continue
            counts = [count for count in rows if rows[count]]
            values = [np.asarray(rows[count][number]) for count in counts]
            (drawn,) = axes.plot(counts, [np.median(v) for v in values], marker="o", label=name.replace("_", "-"))
            axes.fill_between(
                counts, [v.min() for v in values], [v.max() for v in values], alpha=0.15, color=drawn.get_color()
            )
        axes.axhline(bound, color="grey", linestyle="--", linewidth=1)
        axes.set(title=title, xlabel="poses" if "hand" in title else "views", yscale="log")
        axes.legend(fontsize=8)
    figure.suptitle(
        f"Error against the number of poses, {NOISE_PX:g} px of noise: median and range; dashed: the bound asked for"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"plot: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rendered", type=int, default=1, help="draws with rendered images, about 10 s each")
    parser.add_argument("--plot", type=Path, help="write error against number of poses here")
    options = parser.parse_args()
    print(machine())
    cell = Cell()
    table(cell, options.seeds, options.rendered)
    if options.plot:
        plot(curves(cell, options.seeds), options.plot)
    cell.close()


if __name__ == "__main__":
    main()
