"""LeRobot policies: which mapping fits their features, and, where the package is, a whole one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.policies.peering import PANDA, an_observation
from world2act_core.embodiment import load_embodiment
from world2act_core.errors import ContractError, MissingExtraError, RunError
from world2act_core.policies.address import open_policy
from world2act_core.policies.lerobot import policy_mapping

LEROBOT = importlib.util.find_spec("lerobot") is not None


def features(images: tuple[str, ...], state: int, action: int, size: int = 64) -> Any:
    """As a policy's ``config.json`` has them."""
    inputs = {f"observation.images.{name}": SimpleNamespace(shape=(3, size, size + 16)) for name in images}
    inputs["observation.state"] = SimpleNamespace(shape=(state,))
    return SimpleNamespace(input_features=inputs, output_features={"action": SimpleNamespace(shape=(action,))})


def test_a_policy_of_published_libero_sets_sees_mirrored_images_in_its_own_size() -> None:
    mapping = policy_mapping(features(("image", "image2"), 8, 7), PANDA, "", "it")
    seen = an_observation(64)
    image = mapping.encode_image("observation.images.image2", {"wrist": np.ascontiguousarray(seen.images["wrist"])})
    assert image.shape == (64, 80, 3) and list(mapping.state) == ["observation.state"]
    np.testing.assert_array_equal(image[:, 8:72], seen.images["wrist"][:, ::-1])
    assert mapping.encode_state("observation.state", seen.state).shape == (8,)


def test_a_policy_of_our_own_sets_has_the_contracts_names() -> None:
    size = sum(stream.size for stream in PANDA.state.values())
    mapping = policy_mapping(features(("agentview",), size, 7), PANDA, "", "it")
    seen = an_observation(128)
    sent = mapping.encode_state("observation.state", seen.state)
    np.testing.assert_array_equal(sent, np.concatenate([seen.state[name] for name in PANDA.state]))
    assert not mapping.images["observation.images.agentview"].mirror


@pytest.mark.parametrize("wrong", [(("top",), 8, 7), (("image",), 9, 7), (("image",), 8, 6)])
def test_a_policy_for_another_robot_is_one_sentence(wrong: tuple[tuple[str, ...], int, int]) -> None:
    with pytest.raises(ContractError, match="policy for another robot than libero_panda: its features are"):
        policy_mapping(features(*wrong), PANDA, "", "it")


@pytest.mark.skipif(LEROBOT, reason="LeRobot is installed here")
def test_without_the_package_one_sentence_says_what_to_do() -> None:
    with pytest.raises(MissingExtraError, match="environment of its own, from which 'world2act serve --policy lerobot"):
        open_policy("lerobot:somebody/policy", PANDA)


@pytest.mark.skipif(not LEROBOT, reason="LeRobot is not installed: it needs an environment of its own")
def test_an_act_policy_is_loaded_and_acts(tmp_path: Path) -> None:
    import torch
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.factory import make_pre_post_processors

    images = {
        f"observation.images.{name}": PolicyFeature(FeatureType.VISUAL, (3, 64, 64)) for name in ("image", "image2")
    }
    config = ACTConfig(
        input_features={**images, "observation.state": PolicyFeature(FeatureType.STATE, (8,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (7,))},
        chunk_size=8, n_action_steps=8, pretrained_backbone_weights=None, dim_model=64, n_heads=2,
        dim_feedforward=64, n_encoder_layers=1, n_vae_encoder_layers=1, latent_dim=8, device="cpu", push_to_hub=False,
    )  # fmt: skip
    scale = {"mean": torch.zeros(1), "std": torch.full((1,), 0.1)}
    stats = {key: {name: value.expand(size) for name, value in scale.items()}
             for key, size in (("action", 7), ("observation.state", 8))}  # fmt: skip
    stats |= {key: {name: value.expand(3, 1, 1) for name, value in scale.items()} for key in images}
    for part in (ACTPolicy(config), *make_pre_post_processors(config, dataset_stats=stats)):
        part.save_pretrained(tmp_path)
    policy = open_policy(f"lerobot:{tmp_path}", PANDA)
    seen = an_observation(64)
    chunk = policy.act(seen, "x").actions
    assert chunk.shape == (8, 7) and np.ptp(chunk) > 0 and policy.cameras == ("agentview", "wrist")
    np.testing.assert_allclose(policy.act_batch([seen, seen], ["x", "y"])[1].actions, chunk, atol=1e-5)
    with pytest.raises(ContractError, match="another robot than panda_omron"):
        open_policy(f"lerobot:{tmp_path}", load_embodiment("panda_omron"))
    with pytest.raises(RunError, match="LeRobot cannot load"):
        open_policy("lerobot:/nowhere/at/all", PANDA)
