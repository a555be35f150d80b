"""From what was recorded to what a calibration is computed from: views with the arm's pose at each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from world2act_core.calibration.board import CalibrationError
from world2act_core.calibration.detection import BoardDetector, Rejected, View, other_dictionary
from world2act_core.calibration.hand_eye import Sample
from world2act_core.calibration.motion import FEWEST_POSES
from world2act_core.calibration.sources import Picture, find_boards, spaced
from world2act_core.calibration.track import ArmTrack
from world2act_core.types import Array

MOST_POSES = 60
MOST_VIEWS = 150
LOOKED_AT = 3  # pictures in which other boards are looked for
Tick = Callable[[], None]


def still_samples(
    found: Sequence[Picture],
    track: ArmTrack,
    detector: BoardDetector,
    offset_s: float | None,
    tick: Tick = lambda: None,
) -> tuple[list[Sample], list[Rejected]]:
    """Views with the arm's pose at the moment of exposure.

    One image of each standstill is taken, because there a time offset does no harm. If the arm hardly ever stands
    still, images of the moving arm are taken, which needs the offset.

    Args:
        offset_s: of the camera's stamps; None: not calibrated.

    Raises:
        CalibrationError: images and poses are of different times, or the arm moves and the offset is not known.
    """
    stamps = np.array([picture.stamp_s for picture in found], np.float64) + (offset_s or 0.0)
    covered = track.covers(stamps)
    if not covered.any():
        raise CalibrationError(
            f"no image was taken while the arm's poses are known: images {stamps.min():.1f} to {stamps.max():.1f} s, "
            f"poses {track.stamps[0]:.1f} to {track.stamps[-1]:.1f} s; are the clocks synchronised?"
        )
    still = _middles(track.still(stamps), stamps, track)
    if len(still) < FEWEST_POSES:
        if offset_s is None:
            raise CalibrationError(
                f"the arm stands still at {len(still)} poses with an image, at least {FEWEST_POSES} are needed: stop "
                "for a second at each, or calibrate the camera's time offset first (world2act calibrate time)"
            )
        still = [int(k) for k in np.flatnonzero(covered)]
    chosen = [still[k] for k in np.unique(np.linspace(0, len(still) - 1, min(MOST_POSES, len(still))).astype(int))]
    views, rejected = find_boards([found[k] for k in chosen], detector, tick)
    moments = np.array([view.stamp_s for view in views], np.float64) + (offset_s or 0.0)
    _or_why([found[k] for k in chosen], views, rejected, detector)
    arms = track.at(moments)
    return [Sample(view, arm) for view, arm in zip(views, arms, strict=True)], rejected


def _middles(still: Array, stamps: Array, track: ArmTrack) -> list[int]:
    """The middle image of every stretch in which the arm stays at one place."""
    groups: list[list[int]] = []
    poses = track.at(stamps)
    for k in np.flatnonzero(still):
        last = groups[-1] if groups else None
        if last and k == last[-1] + 1 and np.linalg.norm(poses[k, :3, 3] - poses[last[0], :3, 3]) < 0.002:
            last.append(int(k))
        else:
            groups.append([int(k)])
    return [group[len(group) // 2] for group in groups]


def table_samples(
    found: Sequence[Picture], poses: Mapping[str, Array], detector: BoardDetector, tick: Tick = lambda: None
) -> tuple[list[Sample], list[Rejected]]:
    """Views of a folder's images with poses of a table."""
    known = [picture for picture in found if picture.name in poses]
    if not known:
        raise CalibrationError(f"the table of poses names none of the images, such as {found[0].name}")
    views, rejected = find_boards(known, detector, tick)
    _or_why(known, views, rejected, detector)
    rejected += [Rejected(p.name, "the table has no pose of it") for p in found if p.name not in poses]
    return [Sample(view, poses[view.name]) for view in views], rejected


def moving_views(
    found: Sequence[Picture], detector: BoardDetector, tick: Tick = lambda: None
) -> tuple[list[View], list[Rejected]]:
    """Views for a time offset: at most 150 that follow each other closely, from the middle of the recording."""
    stamped = spaced(found, len(found), 0.05)
    begin = max(0, (len(stamped) - MOST_VIEWS) // 2)
    chosen = stamped[begin : begin + MOST_VIEWS]
    views, rejected = find_boards(chosen, detector, tick)
    _or_why(chosen, views, rejected, detector)
    return views, rejected


def all_views(
    found: Sequence[Picture], detector: BoardDetector, most: int, tick: Tick = lambda: None
) -> tuple[list[View], list[Rejected]]:
    """Views of at most ``most`` images, evenly over all, half a second apart."""
    chosen = spaced(found, most, 0.5)
    views, rejected = find_boards(chosen, detector, tick)
    _or_why(chosen, views, rejected, detector)
    return views, rejected


def _or_why(
    chosen: Sequence[Picture], views: Sequence[View], rejected: Sequence[Rejected], detector: BoardDetector
) -> None:
    """Where no view is left, say why: the reason that most images have, or another board that is in sight."""
    if views:
        return
    reasons = [entry.reason for entry in rejected]
    common = max(set(reasons), key=reasons.count)
    if "no marker" in common:
        step = max(1, len(chosen) // LOOKED_AT)
        other = other_dictionary(detector.board, (picture.load() for picture in chosen[::step][:LOOKED_AT]))
        if other:
            common = f"markers of {other} are seen, the board's file says {detector.board.dictionary}: another board"
    raise CalibrationError(
        f"none of {len(chosen)} images shows {detector.board.name} usably; {chosen[0].name} and others: {common}"
    )
