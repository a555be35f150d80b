"""What the tests of our segmenter share: each recording is seen with its commands and as an action-free video."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.skills.streams_examples import without_commands
from world2act_core.skills.contact import ContactSegmenter
from world2act_core.skills.types import EventKind, Segmentation, Streams

GRASP, RELEASE, CONTACT = EventKind.GRASP, EventKind.RELEASE, EventKind.CONTACT
SEEN = [pytest.param(lambda streams: streams, id="commands"), pytest.param(without_commands, id="action-free")]
either = pytest.mark.parametrize("seen", SEEN)
See = Callable[[Streams], Streams]


def segment(streams: Streams) -> Segmentation:
    return ContactSegmenter().segment(streams)


def kinds(segmentation: Segmentation) -> list[EventKind]:
    return [event.kind for event in segmentation.events]


def steps(segmentation: Segmentation) -> list[int]:
    return [event.step for event in segmentation.events]
