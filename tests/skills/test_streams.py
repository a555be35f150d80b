"""What segmentation reads of an episode, by the embodiment's contract."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import ContractError
from world2act_core.skills.streams import streams_of
from world2act_core.skills.types import MeasuredGripper
from world2act_core.types import Array, Episode

STEPS = 4
LEFT_TURN = [0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)]  # a quarter turn about z, quaternion xyzw


def episode(embodiment: Embodiment, **state: list[float]) -> Episode:
    """Every state stream as given, the same at every step; the others zero."""
    rows = {name: np.zeros(stream.size) for name, stream in embodiment.state.items()} | state
    return Episode(
        episode_id="e",
        task="",
        embodiment=embodiment.name,
        stamps=np.arange(STEPS + 1) * embodiment.step_s,
        state={name: np.tile(np.asarray(row, np.float32), (STEPS + 1, 1)) for name, row in rows.items()},
        actions=np.zeros((STEPS, embodiment.action.size), np.float32),
        frame_steps=np.zeros(0, np.int64),
        images={},
    )


def with_state(given: Episode, name: str, values: Array) -> Episode:
    return replace(given, state={**given.state, name: values})


@pytest.fixture
def panda() -> Embodiment:
    return load_embodiment("libero_panda")


def test_the_width_is_how_far_the_fingers_are_apart_whatever_their_signs(panda: Embodiment) -> None:
    streams = streams_of(episode(panda, gripper_positions=[0.03, -0.02]), panda)
    np.testing.assert_allclose(streams.width, 0.05)
    assert (streams.fully_open, streams.step_s, streams.steps) == (0.08, 0.05, STEPS)


def test_told_to_close_is_nearer_to_the_closing_command_than_to_the_opening_one(panda: Embodiment) -> None:
    given = episode(panda)
    assert given.actions is not None
    given.actions[:, panda.gripper.index] = [-1, -0.1, 0.1, 1]
    commanded = streams_of(given, panda).gripper_command
    assert commanded is not None
    assert commanded.tolist() == [False, False, True, True]


def test_an_action_free_video_has_no_commands(panda: Embodiment) -> None:
    streams = streams_of(episode(panda).without_actions(), panda)
    assert streams.commands is None
    assert streams.gripper_command is None


def test_a_hand_on_a_base_that_moves_is_seen_from_the_world() -> None:
    omron = load_embodiment("panda_omron")
    given = episode(
        omron,
        base_position=[10, 0, 0],
        base_orientation=LEFT_TURN,
        eef_position=[1, 0, 0.5],
        eef_orientation=LEFT_TURN,
    )
    streams = streams_of(given, omron)
    np.testing.assert_allclose(streams.position[0], [10, 1, 0.5], atol=1e-6)
    np.testing.assert_allclose(streams.orientation[0], [0, 0, 1, 0], atol=1e-6)
    assert streams.reach is not None
    np.testing.assert_allclose(streams.reach[0], [1, 0, 0.5], atol=1e-6)


def test_a_missing_stream_is_named(panda: Embodiment) -> None:
    given = episode(panda)
    del given.state["gripper_positions"]  # type: ignore[attr-defined]
    with pytest.raises(ContractError, match="episode e has no state 'gripper_positions'"):
        streams_of(given, panda)


def test_an_embodiment_without_the_stream_is_named(panda: Embodiment) -> None:
    state = {name: stream for name, stream in panda.state.items() if name != "gripper_positions"}
    with pytest.raises(ContractError, match=r"libero_panda\.yaml: state has no stream 'gripper_positions'"):
        streams_of(episode(panda), replace(panda, state=state))


def test_a_measured_gripper_says_what_its_positions_mean(panda: Embodiment) -> None:
    state = {**panda.state, "gripper_positions": replace(panda.state["gripper_positions"], units="rad")}
    measured = MeasuredGripper(fully_open_m=0.085, delta_m=0.05, scale=-0.1, offset_m=0.085)
    streams = streams_of(episode(panda, gripper_positions=[0.4, 0.0]), replace(panda, state=state), measured)
    assert streams.fully_open == 0.085
    np.testing.assert_allclose(streams.width, 0.045, atol=1e-6)


def test_fingers_in_other_units_than_metres_are_refused(panda: Embodiment) -> None:
    state = {**panda.state, "gripper_positions": replace(panda.state["gripper_positions"], units="normalised")}
    with pytest.raises(ContractError, match="gripper_positions is in 'normalised', segmentation needs metres: measure"):
        streams_of(episode(panda), replace(panda, state=state))


def test_a_stream_of_another_size_is_refused(panda: Embodiment) -> None:
    with pytest.raises(ContractError, match=r"eef_position has shape \(5, 2\), expected \(T \+ 1, 3\)"):
        streams_of(with_state(episode(panda), "eef_position", np.zeros((STEPS + 1, 2))), panda)


def test_a_number_that_is_not_finite_is_refused_with_its_step(panda: Embodiment) -> None:
    fingers = np.zeros((STEPS + 1, 2))
    fingers[3, 1] = np.nan
    with pytest.raises(ContractError, match="episode e: state gripper_positions .* at step 3"):
        streams_of(with_state(episode(panda), "gripper_positions", fingers), panda)
