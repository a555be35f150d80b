"""Collecting views one image at a time: which to keep, what is covered, what to show next, when it is enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from world2act_core.calibration.board import Board
from world2act_core.calibration.coverage import Coverage, too_like
from world2act_core.calibration.detection import BoardDetector, Rejected, View
from world2act_core.calibration.intrinsics import FEWEST_VIEWS
from world2act_core.types import Array

MOST_VIEWS = 80
MOST_OF_A_KIND = 8  # (place, tilt, distance): more of the same teach nothing


@dataclass(frozen=True)
class Offered:
    """What became of one image: ``kept``, or why not; and what to do next (``""``: there is enough)."""

    kept: bool
    said: str
    advice: str


class Collector:
    """Takes images of a camera, from a live topic or a recording.

    Attributes:
        views: those kept.
        rejected: images in which the board was not usable.
        coverage: what was covered.
    """

    def __init__(self, board: Board, most: int = MOST_VIEWS) -> None:
        self._detector, self._most = BoardDetector(board), most
        self.views: list[View] = []
        self.rejected: list[Rejected] = []
        self.coverage = Coverage(board)
        self._of_a_kind: dict[tuple[str, str, str], int] = {}
        self._seen = 0

    @property
    def enough(self) -> bool:
        """Whether every kind of pose was seen, or no more views are taken."""
        return (self.coverage.complete and len(self.views) >= FEWEST_VIEWS) or len(self.views) >= self._most

    def offer(self, image: Array, name: str = "", stamp_s: float | None = None) -> Offered:
        """Look at one image ``(H, W, 3)`` uint8 RGB."""
        self._seen += 1
        found = self._detector.detect(image, name or f"image {self._seen}", stamp_s)
        return self.take(found)

    def take(self, found: View | Rejected) -> Offered:
        """The same with what a detector found."""
        if isinstance(found, Rejected):
            self.rejected.append(found)
            return self._offered(False, found.reason)
        if self.enough:
            return self._offered(False, "there are enough views")
        if too_like(found, self.views):
            return self._offered(False, "nearly the same as a view before")
        kind = self.coverage.kind(found)
        if self._of_a_kind.get(kind, 0) >= MOST_OF_A_KIND:
            return self._offered(False, f"there are {MOST_OF_A_KIND} views of this kind already")
        self._of_a_kind[kind] = self._of_a_kind.get(kind, 0) + 1
        self.coverage.add(found)
        self.views.append(found)
        return self._offered(True, f"view {len(self.views)}: {kind[0]}, {kind[1]}, {kind[2]}")

    def collect(self, images: Iterable[tuple[str, float | None, Array]]) -> Iterator[Offered]:
        """Offer images (name, stamp, pixels) until there are enough; yields what became of each."""
        for name, stamp_s, image in images:
            yield self.offer(image, name, stamp_s)
            if self.enough:
                return

    def _offered(self, kept: bool, said: str) -> Offered:
        return Offered(kept, said, "" if self.enough else self.coverage.next_pose())
