"""What a guessed action becomes before it is taught or executed."""

from __future__ import annotations

import numpy as np
import pytest

from world2act_core.embodiment import load_embodiment


@pytest.mark.parametrize("name", ["libero_panda", "franka_fr3"])
def test_a_guess_opens_or_closes_the_gripper_wholly_and_stays_in_range(name: str) -> None:
    embodiment = load_embodiment(name)
    gripper, size = embodiment.gripper, embodiment.action.size
    nearer_open = gripper.open + 0.4 * (gripper.close - gripper.open)
    nearer_closed = gripper.open + 0.6 * (gripper.close - gripper.open)
    guesses = np.full((2, 3, size), 9.0, np.float32)
    guesses[0, :, gripper.index], guesses[1, :, gripper.index] = nearer_open, nearer_closed
    before = guesses.copy()
    said = embodiment.decided(guesses)
    assert (said[0, :, gripper.index] == np.float32(gripper.open)).all()
    assert (said[1, :, gripper.index] == np.float32(gripper.close)).all()
    others = np.arange(size) != gripper.index
    assert np.array_equal(
        said[..., others], np.broadcast_to(embodiment.action.high.astype(np.float32), said.shape)[..., others]
    )
    assert np.array_equal(guesses, before), "the caller's actions are left alone"
