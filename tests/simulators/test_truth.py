"""The yardstick of segmentation on a real demonstration; its rules are tested in tests/skills/test_truth.py."""

from __future__ import annotations

import numpy as np
import pytest

from world2act_core.simulators.demonstrators.library import demonstrator
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.rollout import Moment, rollout
from world2act_core.simulators.starts import Start
from world2act_core.skills.truth import Witness, true_events
from world2act_core.skills.types import EventKind

pytestmark = pytest.mark.libero


def test_a_real_demonstration_is_one_cycle_around_the_closed_gripper(simulator: LiberoSimulator) -> None:
    witness = Witness(demonstrator("libero_goal", 8))
    start = Start("libero_goal", 8, 3)
    episode = rollout(simulator, witness, start, episode_id="e", source="d", record_images=False, extra_chunks=3)
    witness.look(Moment(simulator, episode.steps))
    grasp, release = true_events(witness)
    assert (grasp.kind, release.kind) == (EventKind.GRASP, EventKind.RELEASE)
    assert episode.actions is not None
    closed = np.flatnonzero(episode.actions[:, 6] > 0)
    assert closed[0] < grasp.step < release.step <= closed[-1] + 4
