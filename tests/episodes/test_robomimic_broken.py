"""LIBERO's and RoboCasa's HDF5 files that are broken, damaged, foreign or another robot's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.episodes.hdf5_examples import (
    Example,
    add,
    libero_attributes,
    libero_example,
    libero_file,
    robocasa_attributes,
    robocasa_example,
    robocasa_file,
    write_hdf5,
)
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import BagReport
from world2act_core.episodes.robomimic import iterate_robomimic
from world2act_core.errors import ContractError, DamagedBagError, World2ActError

PANDA = load_embodiment("libero_panda")
OMRON = load_embodiment("panda_omron")


# Demonstrations that are refused


def spoilt_group(demo: Example) -> Example:
    return demo.without("obs/ee_pos").replaced("obs/ee_pos/x", np.zeros(6))


REFUSED: list[tuple[str, Callable[[Example], Example], str]] = [
    ("nan in a state", lambda d: d.spoilt("obs/ee_ori", 3, np.nan), "obs/ee_ori holds nan at row 3"),
    ("inf in an action", lambda d: d.spoilt("actions", 2, np.inf), "actions holds inf at row 2"),
    ("beyond float32", lambda d: d.spoilt("obs/ee_pos", 1, 1e300), "obs/ee_pos holds 1e+300 at row 1"),
    ("nan in the simulator's state", lambda d: d.spoilt("states", 0, np.nan), "states holds nan at row 0"),
    ("no stream", lambda d: d.without("obs/gripper_states"), "it has no obs/gripper_states"),
    ("no actions", lambda d: d.without("actions"), "it has no actions"),
    ("a group for a stream", spoilt_group, "it has no obs/ee_pos"),
    (
        "a short stream",
        lambda d: d.replaced("obs/ee_pos", np.zeros((5, 3))),
        "obs/ee_pos has shape (5, 3), expected (6, 3)",
    ),
    (
        "short images",
        lambda d: d.replaced("obs/agentview_rgb", np.zeros((5, 8, 8, 3), np.uint8)),
        "obs/agentview_rgb has shape (5, 8, 8, 3), expected (6, any, any, 3)",
    ),
    (
        "another robot's actions",
        lambda d: d.replaced("actions", np.zeros((6, 12))),
        "actions has shape (6, 12), expected (6, 7)",
    ),
    (
        "rows without columns",
        lambda d: d.replaced("obs/joint_states", np.zeros(6)),
        "obs/joint_states has shape (6,), expected (6, 7)",
    ),
    (
        "images in floats",
        lambda d: d.replaced("obs/agentview_rgb", np.zeros((6, 8, 8, 3))),
        "obs/agentview_rgb is float64, images are uint8",
    ),
    ("cut off", lambda d: Example(d.datasets, {"num_samples": 9}), "it says that it has 9 samples, but has 6 actions"),
    ("one row", lambda d: libero_example(rows=1), "it is shorter than one control step"),
]


@pytest.mark.parametrize(("spoil", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_broken_demonstration_is_refused_and_the_others_are_read(
    tmp_path: Path, spoil: Callable[[Example], Example], reason: str
) -> None:
    path = libero_file(tmp_path / "a.hdf5", spoil(libero_example()), libero_example(seed=1))
    report = BagReport()
    assert [episode.episode_id for episode in iterate_robomimic(path, PANDA, report=report)] == ["a/demo_1"]
    assert [(refused.episode_id, refused.reason) for refused in report.refused] == [("a/demo_0", reason)]
    assert report.damage is None


def test_a_camera_that_was_asked_for_and_is_not_there_refuses_the_demonstration(tmp_path: Path) -> None:
    path = libero_file(tmp_path / "a.hdf5", libero_example().without("obs/eye_in_hand_rgb"))
    report = BagReport()
    assert not list(iterate_robomimic(path, PANDA, cameras=["wrist"], report=report))
    assert [refused.reason for refused in report.refused] == ["it has no obs/eye_in_hand_rgb"]


@pytest.mark.parametrize(
    ("ep_meta", "reason"),
    [
        ("{}", "nothing says what its instruction is"),
        ('{"lang": ""}', "nothing says what its instruction is"),
        ("{lang", "its attribute ep_meta is not JSON"),
        ("[]", "its attribute ep_meta is JSON, but not an object"),
    ],
)
def test_a_demonstration_without_an_instruction_is_refused(tmp_path: Path, ep_meta: str, reason: str) -> None:
    demo = robocasa_example()
    demo.attributes["ep_meta"] = ep_meta
    report = BagReport()
    assert not list(iterate_robomimic(robocasa_file(tmp_path / "a.hdf5", demo), OMRON, report=report))
    assert report.refused[0].reason.startswith(reason)


def test_a_dataset_in_the_place_of_a_demonstration_is_refused(tmp_path: Path) -> None:
    path = libero_file(tmp_path / "a.hdf5", libero_example())
    with h5py.File(path, "a") as file:
        file["data/demo_1"] = np.zeros(3)
    report = BagReport()
    assert len(list(iterate_robomimic(path, PANDA, report=report))) == 1
    assert [(refused.episode_id, refused.reason) for refused in report.refused] == [("a/demo_1", "it is not a group")]


def test_without_a_report_the_first_refusal_is_raised_behind_what_lies_in_front_of_it(tmp_path: Path) -> None:
    spoilt = libero_example(seed=1).spoilt("actions", 0, np.nan)
    episodes = iterate_robomimic(libero_file(tmp_path / "a.hdf5", libero_example(), spoilt), PANDA)
    assert next(episodes).episode_id == "a/demo_0"
    with pytest.raises(ContractError, match=r"a\.hdf5: episode a/demo_1 cannot be used: actions holds nan at row 0"):
        next(episodes)


def test_what_a_killed_writer_left_is_read_up_to_the_demonstration_in_progress(tmp_path: Path) -> None:
    """The file as it lies on the disk while its writer is still at demo_1."""
    live, left = tmp_path / "live.hdf5", tmp_path / "left.hdf5"
    with h5py.File(live, "w") as file:
        data = file.create_group("data")
        data.attrs.update(libero_attributes())
        add(data, "demo_0", libero_example())
        add(data, "demo_1", Example({"actions": libero_example().datasets["actions"]}))
        data.create_group("demo_2")
        file.flush()
        shutil.copyfile(live, left)
    report = BagReport()
    assert [episode.episode_id for episode in iterate_robomimic(left, PANDA, report=report)] == ["left/demo_0"]
    assert [(refused.episode_id, refused.reason) for refused in report.refused] == [
        ("left/demo_1", "it has no obs/joint_states"),
        ("left/demo_2", "it has no actions"),
    ]


def test_a_demonstration_whose_bytes_are_garbage_is_refused_and_the_others_are_read(tmp_path: Path) -> None:
    path = libero_file(tmp_path / "a.hdf5", *(libero_example(seed=n) for n in range(3)), compression="gzip")
    with h5py.File(path, "r") as file:
        chunk = file["data/demo_1/obs/agentview_rgb"].id.get_chunk_info(0)
    with open(path, "r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xa5" * 64)
    report = BagReport()
    assert [e.episode_id for e in iterate_robomimic(path, PANDA, report=report)] == ["a/demo_0", "a/demo_2"]
    assert report.refused[0].reason.startswith("obs/agentview_rgb cannot be read (")


# Files that are damaged, foreign or another robot's


def damage(path: Path, embodiment: Embodiment = PANDA) -> str:
    """The damage that is reported; the same is raised without a report."""
    report = BagReport()
    assert not list(iterate_robomimic(path, embodiment, report=report))
    with pytest.raises(DamagedBagError) as raised:
        list(iterate_robomimic(path, embodiment))
    assert str(raised.value) == str(report.damage)
    assert "\n" not in str(report.damage)
    return str(report.damage)


def test_a_file_that_was_cut_off_anywhere_is_reported_by_name(tmp_path: Path) -> None:
    whole = libero_file(tmp_path / "whole.hdf5", libero_example(rows=2), libero_example(rows=2)).read_bytes()
    cut = tmp_path / "cut.hdf5"
    for length in range(0, len(whole), 499):
        cut.write_bytes(whole[:length])
        assert damage(cut).startswith(f"{cut} is cut off, damaged or no HDF5 file: ")


def test_a_file_that_is_no_hdf5_file_is_reported_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 20)
    assert damage(path).startswith(f"{path} is cut off, damaged or no HDF5 file: ")


def test_a_foreign_hdf5_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["observations/qpos"] = np.zeros((3, 14))
    assert damage(path) == f"{path} holds no demonstrations (data/demo_0 ...): a foreign HDF5 file"


def test_a_layout_that_is_not_known_is_reported_with_what_it_has(tmp_path: Path) -> None:
    """robomimic's own data sets: a Panda without a base."""
    lift = Example(
        {"actions": np.zeros((6, 7)), "obs/object": np.zeros((6, 10)), "obs/robot0_eef_pos": np.zeros((6, 3))}
    )
    said = damage(write_hdf5(tmp_path / "lift.hdf5", {"demo_0": lift}, {}))
    assert "object, robot0_eef_pos" in said
    assert "LIBERO (obs/ee_ori) or RoboCasa (obs/robot0_base_pos)" in said


def test_demonstrations_without_observations_say_how_to_get_them(tmp_path: Path) -> None:
    raw = Example({"actions": np.zeros((6, 12)), "states": np.zeros((6, 40))})
    assert "dataset_states_to_obs.py" in damage(write_hdf5(tmp_path / "a.hdf5", {"demo_1": raw}, {}), OMRON)


def test_a_file_is_recognised_though_its_first_demonstration_is_broken(tmp_path: Path) -> None:
    path = libero_file(tmp_path / "a.hdf5", Example({"actions": np.zeros((6, 7))}), libero_example())
    assert [e.episode_id for e in iterate_robomimic(path, PANDA, report=BagReport())] == ["a/demo_1"]


def test_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(World2ActError, match=r"there is no file at .*nothing\.hdf5"):
        list(iterate_robomimic(tmp_path / "nothing.hdf5", PANDA, report=BagReport()))


@pytest.mark.parametrize(
    ("robot", "why"),
    [("franka_fr3", "they have no eef_position as franka_fr3 means it"), ("panda_omron", "they have no base_position")],
)
def test_a_contract_of_another_robot_is_refused(tmp_path: Path, robot: str, why: str) -> None:
    path = libero_file(tmp_path / "a.hdf5", libero_example())
    with pytest.raises(ContractError, match=f"holds LIBERO demonstrations, which follow libero_panda: {why}"):
        list(iterate_robomimic(path, load_embodiment(robot), report=BagReport()))


def test_a_contract_with_other_action_scales_is_refused(tmp_path: Path) -> None:
    path = libero_file(tmp_path / "a.hdf5", libero_example())
    slow = replace(PANDA, action=replace(PANDA.action, scale=PANDA.action.scale / 2))
    with pytest.raises(ContractError, match="the actions of libero_panda have other names or scales"):
        list(iterate_robomimic(path, slow))


def test_another_control_rate_is_refused(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", {"demo_0": robocasa_example()}, robocasa_attributes(rate=10))
    with pytest.raises(ContractError, match="made at 10 Hz, panda_omron says 20 Hz"):
        list(iterate_robomimic(path, OMRON))


def test_attributes_that_are_garbage_are_damage(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", {"demo_0": libero_example()}, {"env_args": "{"})
    assert "its attribute env_args is not JSON" in damage(path)
