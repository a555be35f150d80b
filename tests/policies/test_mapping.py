"""Mapping files: the shipped ones fit their robots both ways, others are refused with what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

import world2act_core.policies
from tests.policies.peering import PANDA, an_observation, axis_angle
from tests.policies.served import TellingPolicy
from world2act_core.embodiment import load_embodiment
from world2act_core.errors import ContractError
from world2act_core.policies.mapping import load_mapping, observation_from
from world2act_core.policies.pictures import fitted
from world2act_core.policies.serving import ServedPolicy
from world2act_core.rotations import axis_angle_from_quaternion, quaternion_from_axis_angle

MAPPINGS = Path(world2act_core.policies.__file__).parent / "mappings"
SHIPPED = sorted(str(path.relative_to(MAPPINGS).with_suffix("")) for path in MAPPINGS.rglob("*.yaml"))


@pytest.mark.parametrize("shipped", SHIPPED)
def test_what_a_client_sends_a_server_reads_and_what_it_answers_the_client_reads(shipped: str) -> None:
    protocol, name = shipped.split("/")
    embodiment = load_embodiment(name)
    mapping, rng = load_mapping(protocol, embodiment), np.random.default_rng(0)
    still = mapping.still()
    state = {stream: rng.uniform(-0.5, 0.5, len(value)).astype(np.float32) for stream, value in still.state.items()}
    for stream in [stream for stream in state if embodiment.state[stream].units == "quaternion_xyzw"]:
        state[stream] /= np.linalg.norm(state[stream])
    images = {camera: rng.integers(0, 255, value.shape, np.uint8) for camera, value in still.images.items()}
    seen = observation_from(
        mapping,
        {key: mapping.encode_image(key, images) for key in mapping.images},
        {key: mapping.encode_state(key, state) for key in mapping.state},
        2.0,
    )
    assert seen.images.keys() == images.keys()
    for camera, image in images.items():
        np.testing.assert_array_equal(seen.images[camera], image)
    for stream, value in seen.state.items():
        np.testing.assert_allclose(value, state[stream], atol=1e-6)
    actions = rng.uniform(embodiment.action.low, embodiment.action.high, (3, 5, embodiment.action.size))
    actions[..., list(mapping.fixed)] = list(mapping.fixed.values())
    sent = mapping.encode_actions(actions.astype(np.float32))
    np.testing.assert_allclose(mapping.decode_actions(sent), actions, atol=1e-6)


def test_grippers_and_the_base_of_gr00t_speak_its_language() -> None:
    panda, omron = load_mapping("gr00t", PANDA), load_mapping("gr00t", load_embodiment("panda_omron"))
    opens = np.zeros((1, 7), np.float32)
    opens[:, 6] = -1
    assert panda.encode_actions(opens)["gripper"] == 1.0 and panda.encode_actions(-opens)["gripper"] == 0.0
    drives = np.zeros((1, 12), np.float32)
    drives[:, [6, 11]] = 1
    said = omron.encode_actions(drives)
    assert (said["gripper_close"], said["control_mode"]) == (1.0, 1.0)
    assert said["base_motion"].shape == (1, 4)


def test_orientations_are_robosuites() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        quaternion = rng.normal(size=4)
        quaternion = (quaternion / np.linalg.norm(quaternion)).astype(np.float32)
        vector = axis_angle_from_quaternion(quaternion)
        np.testing.assert_allclose(vector, axis_angle(quaternion), atol=2e-6)
        np.testing.assert_allclose(quaternion_from_axis_angle(vector), quaternion, atol=2e-6)
    np.testing.assert_array_equal(axis_angle_from_quaternion(np.array([0, 0, 0, 1], np.float32)), 0)
    np.testing.assert_array_equal(quaternion_from_axis_angle(np.zeros(3)), [0, 0, 0, 1])


def test_an_image_is_fitted_without_distortion_and_the_rest_is_black() -> None:
    image = np.full((120, 160, 3), 200, np.uint8)
    wide = fitted(image, 224, 224)
    assert wide.shape == (224, 224, 3) and not wide[:28].any() and not wide[196:].any() and (wide[28:196] == 200).all()
    square = an_observation(224).images["wrist"]
    assert fitted(square, 224, 224) is square


def test_images_are_fitted_as_the_published_openpi_client_does() -> None:
    tools = pytest.importorskip("openpi_client.image_tools", reason="pip install --no-deps openpi-client")
    for rows, columns in ((256, 256), (200, 256), (480, 640)):
        image = np.random.default_rng(0).integers(0, 255, (rows, columns, 3), np.uint8)
        np.testing.assert_array_equal(fitted(image, 224, 224), tools.resize_with_pad(image, 224, 224))


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("images", "image", {"camera": "top", "size": [256, 256]}, "camera = 'top' must be one of agentview, wrist"),
        ("images", "image", {"camera": "wrist", "size": [0, 256]}, "size = .* must be above 0"),
        ("images", "image", {"camera": "wrist", "size": [8, 8], "turn": 180}, "turn = 180 is not a key"),
        ("state", "x", {"parts": ["eef.0"]}, "names 'eef': libero_panda has joint_positions"),
        ("state", "x", {"parts": ["eef_position.3"]}, "expected STREAM"),
        ("state", "x", {"parts": ["eef_position.axis_angle"]}, "expected STREAM|no quaternion"),
        ("actions", "x", {"dimensions": ["y"]}, "must give each dimension of libero_panda once"),
        ("actions", "gripper", {"dimensions": ["gripper"], "at_low": 1.0}, "at_low = 1.0 and at_high go together"),
    ],
)
def test_a_mapping_that_contradicts_the_robot(tmp_path: Path, section: str, key: str, value: object, said: str) -> None:
    content = yaml.safe_load((MAPPINGS / "gr00t" / "libero_panda.yaml").read_text())
    content[section][key] = value
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ContractError, match=f"mine.yaml: .*({said})"):
        load_mapping("gr00t", PANDA, str(path))


def test_a_robot_without_a_mapping_is_told_how_to_get_one() -> None:
    with pytest.raises(ContractError, match=r"no openpi mapping for ur5e: write one .* with mapping=FILE$"):
        load_mapping("openpi", load_embodiment("ur5e"))


def test_dimensions_that_a_model_does_not_know_are_fixed(tmp_path: Path) -> None:
    omron = load_embodiment("panda_omron")
    shipped = load_mapping("cosmos_policy", omron)
    actions = shipped.decode_actions({"actions": np.full((2, 7), 0.25, np.float32)})
    np.testing.assert_array_equal(actions, [[0.25] * 7 + [0, 0, 0, 0, -1]] * 2)
    with pytest.raises(ContractError, match="a server needs each in its actions"):
        ServedPolicy(TellingPolicy("", omron), shipped)
    text = (MAPPINGS / "cosmos_policy" / "panda_omron.yaml").read_text()
    for wrong, says in (("torso: 7", "torso 7.0, which is out of its range"), ("lift: 0", "lift")):
        (tmp_path / "x.yaml").write_text(text.replace("torso: 0", wrong))
        with pytest.raises(ContractError, match=says):
            load_mapping("cosmos_policy", omron, str(tmp_path / "x.yaml"))
