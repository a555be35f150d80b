"""An observation is complete, fresh and of one instant, or there is none and a reason."""

from __future__ import annotations

import numpy as np
import pytest

from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import compose
from world2act_core.errors import ContractError
from world2act_core.runtime.observing import Complete, Incomplete, ObservationBuffer

PANDA = load_embodiment("libero_panda")
CAMERAS = tuple(PANDA.cameras)


def add_states(buffer: ObservationBuffer, stamp: float, monotonic: float = 0.0, value: float = 0.5) -> None:
    state = {name: np.full(stream.size, value, np.float32) for name, stream in PANDA.state.items()}
    for topic, message in compose.state_messages(PANDA, state, round(stamp * 1e9)):
        buffer.add_state(topic, message, monotonic)


def add_image(buffer: ObservationBuffer, camera: str, stamp: float, monotonic: float = 0.0, value: int = 7) -> None:
    image = np.full((128, 128, 3), value, np.uint8)
    buffer.add_image(camera, compose.image_message(image, PANDA.cameras[camera], round(stamp * 1e9)), monotonic)


def filled(stamp: float = 1.0, monotonic: float = 0.0) -> ObservationBuffer:
    buffer = ObservationBuffer(PANDA, CAMERAS, max_age_s=0.5)
    add_states(buffer, stamp, monotonic)
    for camera in CAMERAS:
        add_image(buffer, camera, stamp, monotonic)
    return buffer


def reason(found: Complete | Incomplete) -> str:
    assert isinstance(found, Incomplete), "an observation was made"
    return found.reason


def test_a_complete_observation_holds_what_was_sent() -> None:
    found = filled().pick(0.1, 1.1)
    assert isinstance(found, Complete)
    assert found.observation.stamp == 1.0 and set(found.observation.images) == set(CAMERAS)
    assert found.observation.images["wrist"].shape == (128, 128, 3) and (found.observation.images["wrist"] == 7).all()
    np.testing.assert_array_equal(found.observation.state["joint_positions"], np.full(7, 0.5, np.float32))


def test_a_missing_camera_gives_no_observation_and_names_it() -> None:
    """Regression of the field: two public stacks feed zeros to the policy instead."""
    buffer = ObservationBuffer(PANDA, CAMERAS, max_age_s=0.5)
    add_states(buffer, 1.0)
    add_image(buffer, "agentview", 1.0)
    assert reason(buffer.pick(0.0, 1.0)) == "camera wrist on wrist/image_raw: nothing has been received"


def test_a_camera_that_stopped_is_noticed_by_reception_even_without_a_clock() -> None:
    buffer = filled()
    add_states(buffer, 1.05, monotonic=2.0)
    add_image(buffer, "agentview", 1.05, monotonic=2.0)
    assert reason(buffer.pick(2.0, None)) == "camera wrist on wrist/image_raw: nothing received for 2.0 s"


def test_a_camera_that_keeps_sending_old_stamps_is_noticed_by_header() -> None:
    buffer = filled(1.0)
    add_states(buffer, 10.0)
    assert reason(buffer.pick(0.0, 10.0)) == "camera agentview on agentview/image_raw: newest stamp is 9.0 s old"


def test_stamps_from_the_future_are_refused() -> None:
    """Regression of the field: a clock mismatch made an arm move for ever."""
    assert "stamped 2.00 s in the future: are the machines' clocks synchronised?" in reason(filled(3.0).pick(0.0, 1.0))


def test_streams_of_different_instants_are_not_one_observation() -> None:
    buffer = ObservationBuffer(PANDA, CAMERAS, max_age_s=0.5)
    add_states(buffer, 1.0)
    add_image(buffer, "agentview", 1.0)
    add_image(buffer, "wrist", 1.03)
    assert "wrist" in reason(buffer.pick(0.0, 1.05))


def test_an_observation_before_its_turn_is_not_a_fault() -> None:
    found = filled(1.0).pick(0.0, 1.1, due=1.2)
    assert isinstance(found, Incomplete) and not found.fault


def test_exact_refuses_what_a_former_episode_left_over() -> None:
    found = filled(3.2).pick(0.0, None, due=0.0, exact=True)
    assert isinstance(found, Incomplete) and not found.fault
    assert isinstance(filled(3.2).pick(0.0, None, due=0.0, exact=False), Complete)


def test_time_that_begins_anew_forgets_the_former_time() -> None:
    buffer = filled(3.2)
    add_states(buffer, 0.0)
    assert isinstance(buffer.pick(0.0, None), Incomplete), "old images, new states"
    for camera in CAMERAS:
        add_image(buffer, camera, 0.0)
    found = buffer.pick(0.0, None)
    assert isinstance(found, Complete) and found.observation.stamp == 0.0


def test_an_image_of_the_wrong_size_is_refused() -> None:
    buffer = ObservationBuffer(PANDA, ["wrist"], max_age_s=0.5)
    add_states(buffer, 1.0)
    message = compose.image_message(np.zeros((128, 128, 3), np.uint8), PANDA.cameras["wrist"], 10**9)
    message.height = 64
    buffer.add_image("wrist", message, 0.0)
    with pytest.raises(ContractError, match="the embodiment says 128x128"):
        buffer.pick(0.0, None)


def test_a_joint_that_is_not_a_number_is_refused() -> None:
    buffer = filled()
    with pytest.raises(ContractError, match="wrist/|joint_positions|eef"):
        state = {name: np.full(stream.size, 0.5, np.float32) for name, stream in PANDA.state.items()}
        topic, message = compose.state_messages(PANDA, state, 10**9)[0]
        message.position[2] = np.nan
        buffer.add_state(topic, message, 0.0)


def test_old_samples_do_not_pile_up() -> None:
    buffer = filled()
    for step in range(2000):
        add_states(buffer, 2.0 + step * 0.001)
    assert max(len(samples.stamps) for samples in buffer._states.values()) <= 256


def test_an_observation_says_when_its_images_were_taken_and_its_parts_came() -> None:
    """What came later and was not used does not count: else the way from the camera would look longer than it is."""
    buffer = ObservationBuffer(PANDA, CAMERAS, max_age_s=0.5)
    add_states(buffer, 1.0, monotonic=5.01)
    add_image(buffer, "agentview", 1.0, monotonic=5.02)
    add_image(buffer, "wrist", 1.001, monotonic=5.03)
    add_states(buffer, 1.05, monotonic=5.06)
    found = buffer.pick(5.07, 1.07)
    assert isinstance(found, Complete)
    assert found.images == {"agentview": (10**9, 5.02), "wrist": (1_001_000_000, 5.03)} and found.received == 5.03


def test_what_comes_out_of_order_is_left_out_and_costs_nothing_that_came_before() -> None:
    buffer = ObservationBuffer(PANDA, CAMERAS, max_age_s=0.5, late_s=0.5)
    for stamp in (1.0, 1.05, 1.1):
        add_states(buffer, stamp)
    for camera in CAMERAS:
        add_image(buffer, camera, 1.1, value=9)
        add_image(buffer, camera, 1.05, value=1)
    add_states(buffer, 1.06)
    found = buffer.pick(0.0, 1.12)
    assert isinstance(found, Complete) and found.observation.stamp == 1.1
    assert found.observation.images["wrist"][0, 0, 0] == 9
    for camera in CAMERAS:
        add_image(buffer, camera, 0.2)
    add_states(buffer, 0.2)
    found = buffer.pick(0.0, 0.21)
    assert isinstance(found, Complete) and found.observation.stamp == 0.2, "much earlier: the clock began anew"


def test_images_from_before_an_observation_is_due_do_not_come_due_with_the_next_state() -> None:
    """Regression: they were used a frame late, when the next image of one camera made the next state the nearest."""
    buffer = ObservationBuffer(PANDA, CAMERAS, max_age_s=0.5)
    for stamp in (1.0, 1.01):
        add_states(buffer, stamp)
    add_image(buffer, CAMERAS[0], 1.004)
    add_image(buffer, CAMERAS[1], 1.006)
    assert reason(buffer.pick(0.0, 1.012, due=1.008)) == "the next observation has not come yet"
    add_image(buffer, CAMERAS[0], 1.037)
    add_states(buffer, 1.04)
    assert reason(buffer.pick(0.0, 1.042, due=1.008)) == "the next observation has not come yet"
    assert isinstance(buffer.pick(0.0, 1.042, due=1.0), Complete), "due earlier after all"
    add_image(buffer, CAMERAS[1], 1.039)
    found = buffer.pick(0.0, 1.045, due=1.008)
    assert isinstance(found, Complete) and found.observation.stamp == 1.04
