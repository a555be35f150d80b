"""LIBERO's and RoboCasa's HDF5 files read as episodes."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.episodes import example
from tests.episodes.hdf5_examples import (
    LIBERO_TASK,
    ROBOCASA_TASK,
    SIZE,
    libero_attributes,
    libero_example,
    libero_file,
    robocasa_example,
    robocasa_file,
    write_hdf5,
)
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import read_bag
from world2act_core.episodes.robomimic import iterate_robomimic
from world2act_core.episodes.robomimic.layouts import (
    LAYOUTS,
    ROBOCASA_HDF5_ACTIONS,
    ROBOCASA_LEROBOT_ACTIONS,
    reordered,
)
from world2act_core.errors import ContractError
from world2act_core.rotations import quaternion_from_axis_angle
from world2act_core.types import Array, Episode

PANDA = load_embodiment("libero_panda")
OMRON = load_embodiment("panda_omron")


def only(path: Path, embodiment: Embodiment = PANDA, **asked: Any) -> Episode:
    (episode,) = iterate_robomimic(path, embodiment, **asked)
    return episode


# LIBERO


def test_a_libero_demonstration_is_read_with_the_contracts_names(tmp_path: Path) -> None:
    demo = libero_example(rows=6)
    episode = only(libero_file(tmp_path / "put_the_bowl_on_the_plate_demo.hdf5", demo))
    assert episode.episode_id == "put_the_bowl_on_the_plate_demo/demo_0"
    assert (episode.task, episode.embodiment, episode.source) == (LIBERO_TASK, "libero_panda", "teleoperator")
    np.testing.assert_array_equal(episode.stamps, np.arange(6) / 20)
    for stream, key in (
        ("joint_positions", "joint_states"),
        ("gripper_positions", "gripper_states"),
        ("eef_position", "ee_pos"),
    ):
        np.testing.assert_array_equal(episode.state[stream], demo.datasets[f"obs/{key}"].astype(np.float32))
    assert {stream: rows.dtype for stream, rows in episode.state.items()} == dict.fromkeys(PANDA.state, np.float32)


@pytest.mark.parametrize("attributes", [libero_attributes(), {}], ids=["LIBERO's own", "rendered anew"])
def test_libero_images_are_turned_upright(tmp_path: Path, attributes: dict[str, Any]) -> None:
    demo = libero_example()
    episode = only(write_hdf5(tmp_path / "open_the_drawer_demo.hdf5", {"demo_0": demo}, attributes))
    for camera, key in (("agentview", "agentview_rgb"), ("wrist", "eye_in_hand_rgb")):
        np.testing.assert_array_equal(episode.images[camera], demo.datasets[f"obs/{key}"][:, ::-1])


def test_images_that_the_file_says_are_upright_are_left(tmp_path: Path) -> None:
    """robosuite's setting IMAGE_CONVENTION, which LIBERO notes in the file."""
    demo = libero_example()
    attributes = {**libero_attributes(), "macros_image_convention": "opencv"}
    episode = only(write_hdf5(tmp_path / "a.hdf5", {"demo_0": demo}, attributes))
    np.testing.assert_array_equal(episode.images["agentview"], demo.datasets["obs/agentview_rgb"])


def test_libero_stores_what_was_observed_after_an_action_so_the_first_action_is_dropped(tmp_path: Path) -> None:
    """LIBERO issue 54: read naively, every action would be one control step late."""
    demo = libero_example(rows=6, after_action=True)
    episode = only(libero_file(tmp_path / "a.hdf5", demo))
    assert episode.actions is not None
    np.testing.assert_array_equal(episode.actions, demo.datasets["actions"][1:].astype(np.float32))
    np.testing.assert_array_equal(episode.state["eef_position"], demo.datasets["obs/ee_pos"].astype(np.float32))


def test_files_rendered_anew_store_what_was_observed_before_so_the_last_action_is_dropped(tmp_path: Path) -> None:
    """OpenVLA's regenerate_libero_dataset.py; the simulator states in the file tell the two apart."""
    demo = libero_example(rows=6, after_action=False)
    episode = only(write_hdf5(tmp_path / "put_the_bowl_on_the_plate_demo.hdf5", {"demo_0": demo}, {}))
    assert episode.actions is not None
    np.testing.assert_array_equal(episode.actions, demo.datasets["actions"][:-1].astype(np.float32))


@pytest.mark.parametrize("states", ["missing", "still", "narrow"])
def test_where_nothing_shows_the_order_liberos_custom_stands(tmp_path: Path, states: str) -> None:
    demo = libero_example()
    still = demo.replaced("obs/joint_states", np.ones((6, 7))).replaced("states", np.ones((6, 40)))
    shown = {"missing": demo.without("states"), "still": still, "narrow": demo.replaced("states", np.ones((6, 3)))}
    episode = only(libero_file(tmp_path / "a.hdf5", shown[states]))
    assert episode.actions is not None
    np.testing.assert_array_equal(episode.actions, demo.datasets["actions"][1:].astype(np.float32))


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.3, np.pi, 4.0, 6.2])
def test_orientations_come_back_from_robosuites_axis_angle_to_the_sign(angle: float) -> None:
    """robosuite's quat2axisangle turns xyzw with a negative w into an angle above pi."""
    axis = np.array([0.48, -0.6, 0.64])
    quaternion = np.array([*(np.sin(angle / 2) * axis), np.cos(angle / 2)])
    np.testing.assert_allclose(quaternion_from_axis_angle((angle * axis)[None]), quaternion[None], atol=1e-12)


def test_demonstrations_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    examples = {f"demo_{n}": libero_example(seed=n) for n in (10, 2, 0, 1)}
    path = write_hdf5(tmp_path / "a.hdf5", examples, libero_attributes())
    assert [e.episode_id for e in iterate_robomimic(path, PANDA)] == [f"a/demo_{n}" for n in (0, 1, 2, 10)]


@pytest.mark.parametrize(
    ("attributes", "stem", "task"),
    [
        (libero_attributes("open the drawer"), "x", "open the drawer"),
        (libero_attributes(["open", "the", "drawer"]), "x", "open the drawer"),
        (libero_attributes('"open the drawer"'), "x", "open the drawer"),
        ({}, "open_the_drawer_demo", "open the drawer"),
        ({}, "KITCHEN_SCENE10_open_the_drawer_demo", "open the drawer"),
        ({}, "LIVING_ROOM_SCENE2_open_the_drawer_demo", "open the drawer"),
    ],
)
def test_the_instruction_is_the_files_or_else_what_liberos_names_say(
    tmp_path: Path, attributes: dict[str, Any], stem: str, task: str
) -> None:
    assert only(write_hdf5(tmp_path / f"{stem}.hdf5", {"demo_0": libero_example()}, attributes)).task == task


def test_the_reward_of_the_last_row_says_success(tmp_path: Path) -> None:
    demo = libero_example()
    unrewarded = demo.replaced("rewards", np.zeros(6))
    path = libero_file(tmp_path / "a.hdf5", demo, unrewarded, demo.without("rewards"))
    assert [episode.success for episode in iterate_robomimic(path, PANDA)] == [True, None, None]


# What can be asked for


def test_frames_can_be_taken_at_chunk_boundaries_only(tmp_path: Path) -> None:
    demo = libero_example(rows=10)
    episode = only(libero_file(tmp_path / "a.hdf5", demo), frame_every=4)
    assert episode.frame_steps.tolist() == [0, 4, 8]
    np.testing.assert_array_equal(episode.images["wrist"], demo.datasets["obs/eye_in_hand_rgb"][[0, 4, 8], ::-1])
    assert list(episode.chunk_starts(4)) == [0, 4]


def test_there_is_a_frame_at_every_step(tmp_path: Path) -> None:
    assert only(libero_file(tmp_path / "a.hdf5", libero_example(rows=6))).frame_steps.tolist() == [0, 1, 2, 3, 4, 5]


def test_only_the_cameras_that_were_asked_for_are_read(tmp_path: Path) -> None:
    path = libero_file(tmp_path / "a.hdf5", libero_example())
    assert list(only(path, cameras=["wrist"]).images) == ["wrist"]
    without = only(path, cameras=[])
    assert (without.images, len(without.frame_steps)) == ({}, 0)


def test_without_naming_cameras_an_episode_has_those_that_the_file_has(tmp_path: Path) -> None:
    episode = only(libero_file(tmp_path / "a.hdf5", libero_example().without("obs/agentview_rgb")))
    assert list(episode.images) == ["wrist"]


def test_a_camera_that_the_contract_does_not_have_is_an_error(tmp_path: Path) -> None:
    path = libero_file(tmp_path / "a.hdf5", libero_example())
    with pytest.raises(ContractError, match="libero_panda has no camera 'front', only agentview, wrist"):
        list(iterate_robomimic(path, PANDA, cameras=["front"]))


def test_without_actions_it_is_a_video(tmp_path: Path) -> None:
    episode = only(libero_file(tmp_path / "a.hdf5", libero_example().spoilt("actions", 3, np.nan)), with_actions=False)
    assert (episode.actions, episode.steps) == (None, 5)


def test_images_keep_the_files_size(tmp_path: Path) -> None:
    episode = only(libero_file(tmp_path / "a.hdf5", libero_example(size=24)))
    assert episode.images["agentview"].shape == (6, 24, 24, 3)


def test_a_demonstration_goes_into_a_bag_and_comes_back(tmp_path: Path) -> None:
    small = example.small_embodiment(SIZE, SIZE)
    episode = only(libero_file(tmp_path / "a.hdf5", libero_example()), small)
    (read,) = read_bag(example.write(tmp_path / "bag", small, episode), small).episodes
    example.assert_equal(read, episode)


# RoboCasa


def test_a_robocasa_demonstration_is_read_with_the_contracts_names(tmp_path: Path) -> None:
    demo = robocasa_example(rows=6)
    (tmp_path / "2024-04-30").mkdir()
    episode = only(robocasa_file(tmp_path / "2024-04-30" / "demo_im128.hdf5", demo), OMRON)
    assert episode.episode_id == "CloseDrawer/2024-04-30/demo_im128/demo_0"  # stems are the same for every task
    assert (episode.task, episode.embodiment, episode.success) == (ROBOCASA_TASK, "panda_omron", True)
    np.testing.assert_array_equal(episode.stamps, np.arange(6) / 20)
    for stream, key in (
        ("joint_positions", "joint_pos"),
        ("gripper_positions", "gripper_qpos"),
        ("base_position", "base_pos"),
        ("base_orientation", "base_quat"),
        ("eef_position", "base_to_eef_pos"),
        ("eef_orientation", "base_to_eef_quat"),
    ):
        np.testing.assert_array_equal(episode.state[stream], demo.datasets[f"obs/robot0_{key}"].astype(np.float32))


def test_robocasa_images_are_upright_in_the_file(tmp_path: Path) -> None:
    demo = robocasa_example()
    episode = only(robocasa_file(tmp_path / "a.hdf5", demo), OMRON)
    for camera, key in (
        ("agentview_left", "agentview_left"),
        ("agentview_right", "agentview_right"),
        ("wrist", "eye_in_hand"),
    ):
        np.testing.assert_array_equal(episode.images[camera], demo.datasets[f"obs/robot0_{key}_image"])


def test_robocasa_stores_what_was_observed_before_an_action_so_the_last_action_is_dropped(tmp_path: Path) -> None:
    demo = robocasa_example()
    episode = only(robocasa_file(tmp_path / "a.hdf5", demo), OMRON)
    assert episode.actions is not None
    np.testing.assert_array_equal(episode.actions, demo.datasets["actions"][:-1].astype(np.float32))


def test_actions_follow_the_order_of_the_contract_that_reads_them(tmp_path: Path) -> None:
    demo = robocasa_example()
    order = [OMRON.action.names.index(name) for name in ROBOCASA_LEROBOT_ACTIONS]
    action = replace(OMRON.action, names=ROBOCASA_LEROBOT_ACTIONS, scale=OMRON.action.scale[order])
    episode = only(robocasa_file(tmp_path / "a.hdf5", demo), replace(OMRON, action=action))
    assert episode.actions is not None
    np.testing.assert_array_equal(episode.actions, demo.datasets["actions"][:-1, order].astype(np.float32))


def test_the_two_orders_of_robocasas_actions_are_the_published_ones() -> None:
    """The slices that ACTION_KEY_ORDERING_HDF5 and PandaOmron_modality.json give for the same five parts."""
    hdf5 = {"position": (0, 3), "rotation": (3, 6), "gripper": (6, 7), "base_motion": (7, 11), "mode": (11, 12)}
    lerobot = {"base_motion": (0, 4), "mode": (4, 5), "position": (5, 8), "rotation": (8, 11), "gripper": (11, 12)}
    row = np.arange(12)
    moved = reordered(row, ROBOCASA_HDF5_ACTIONS, ROBOCASA_LEROBOT_ACTIONS)
    for part, (start, end) in hdf5.items():
        np.testing.assert_array_equal(moved[slice(*lerobot[part])], row[start:end])
    np.testing.assert_array_equal(reordered(moved, ROBOCASA_LEROBOT_ACTIONS, ROBOCASA_HDF5_ACTIONS), row)


# Every layout


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_layout_fills_its_contract(layout: Any) -> None:
    contract = load_embodiment(layout.contract)
    assert set(layout.state) == set(contract.state)
    assert set(layout.cameras) == set(contract.cameras)
    assert set(layout.actions) == set(contract.action.names)


# Memory


def peak_bytes(path: Path) -> int:
    tracemalloc.start()
    try:
        for _ in iterate_robomimic(path, PANDA):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_ten_times_the_demonstrations_take_no_more_memory(tmp_path: Path) -> None:
    demo = libero_example(rows=12, size=64)
    few = libero_file(tmp_path / "few.hdf5", *[demo] * 20)
    many = libero_file(tmp_path / "many.hdf5", *[demo] * 200)
    one: Array = demo.datasets["obs/agentview_rgb"]
    peaks = peak_bytes(few), peak_bytes(many)
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 8 * one.nbytes  # two cameras, read and turned over: one demonstration at a time
