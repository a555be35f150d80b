"""A residual acts on what it was trained for and on nothing else; without one the base acts as it always did."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.residual.made import BASE, EMBODIMENT, OVERRULING, SEEN, make_residual, observation
from world2act_core.errors import RunError, World2ActError
from world2act_core.policies.address import open_policy
from world2act_core.policies.compact import load_compact
from world2act_core.policies.protocol import Policy
from world2act_core.policies.seen import seen_arrays
from world2act_core.residual.card import ResidualCard
from world2act_core.residual.files import load_post_trained, load_residual, write_skills
from world2act_core.residual.policy import PostTrainedPolicy
from world2act_core.runs import file_digest
from world2act_core.types import ActionChunk


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("residuals")
    for skill, seed in (("", 0), ("push right", 1), ("push down", 2)):
        make_residual(folder, f"{skill or 'any'}.pt", seed, skill)
    return folder


def acted(policy, prompt="push right"):
    return policy.act(observation(), prompt).actions


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "franka_fr3"}, "was trained for embodiment libero_panda, not for franka_fr3"),
        ({"chunk_length": 8}, "chunks of M = 4 control steps, but libero_panda now says 8"),
    ],
)
def test_another_robot_or_chunk_length_is_one_sentence(folder, change, says):
    with pytest.raises(RunError, match=says):
        load_post_trained(str(folder / BASE), folder / "any.pt", replace(EMBODIMENT, **change))


def test_a_number_that_means_something_else_now_is_one_sentence(folder):
    faster = replace(EMBODIMENT, action=replace(EMBODIMENT.action, scale=2 * EMBODIMENT.action.scale))
    with pytest.raises(RunError, match=r"trained with action\.scale = \[0\.05, .* now says \[0\.1, "):
        load_post_trained(str(folder / BASE), folder / "any.pt", faster)
    stream = replace(EMBODIMENT.state["eef_position"], units="rad")
    turned = replace(EMBODIMENT, state={**EMBODIMENT.state, "eef_position": stream})
    with pytest.raises(RunError, match=r"trained with state\.eef_position = \[3, 'm'\], but .* says \[3, 'rad'\]"):
        load_post_trained(str(folder / BASE), folder / "any.pt", turned)


def test_another_base_is_one_sentence(folder):
    with pytest.raises(RunError, match=r"trained on another base policy \(\w{12}\) than the one here \(0{12}\)"):
        load_residual(folder / "any.pt", 64 * "0", EMBODIMENT)


def test_a_latent_space_of_another_size_is_one_sentence(folder):
    _, card = load_residual(folder / "any.pt", file_digest(folder / BASE), EMBODIMENT)
    with pytest.raises(RunError, match="latent space of D = 32, but its adapters have D = 64"):
        card.check(card.base, EMBODIMENT, folder / "any.pt", latent_size=64)
    card.check(card.base, EMBODIMENT, folder / "any.pt", latent_size=32)


def test_a_card_survives_json_and_an_incomplete_one_is_refused(folder):
    _, card = load_residual(folder / "any.pt", file_digest(folder / BASE), EMBODIMENT)
    assert ResidualCard.from_json(card.to_json(), folder) == card
    with pytest.raises(RunError, match="does not say what its residual was trained for"):
        ResidualCard.from_json({"base": "x"}, folder)


def test_files_that_hold_no_residual_are_refused(folder, tmp_path):
    (tmp_path / "text.pt").write_text("not a residual")
    for file in (tmp_path / "text.pt", folder / BASE):
        with pytest.raises(RunError, match="is no residual"):
            load_residual(file, "", EMBODIMENT)


def test_strength_0_is_the_base_bit_for_bit(folder):
    base = load_compact(folder / BASE, EMBODIMENT)
    policy = load_post_trained(str(folder / BASE), folder / "any.pt", EMBODIMENT, strength=0.0)
    assert acted(policy).tobytes() == acted(base).tobytes()
    policy.strength = 1.0
    assert np.abs(acted(policy) - acted(base)).max() > 0.01


def test_the_prompt_chooses_among_residuals_by_skill(folder):
    write_skills(folder / "residuals.json", {s: folder / f"{s}.pt" for s in ("push right", "push down")})
    policy = open_policy(f"post-trained:{folder / BASE},{folder / 'residuals.json'}", EMBODIMENT)
    for skill in ("push right", "push down"):
        alone = load_post_trained(str(folder / BASE), folder / f"{skill}.pt", EMBODIMENT)
        assert np.array_equal(acted(policy, f" {skill.title()}. "), acted(alone))
    assert not np.array_equal(acted(policy, "push right"), acted(policy, "push down"))


def test_a_skill_that_none_was_trained_for_leaves_the_base_alone_and_says_why(folder, caplog):
    write_skills(folder / "residuals.json", {"push right": folder / "push right.pt"})
    policy = load_post_trained(str(folder / BASE), folder / "residuals.json", EMBODIMENT)
    base = load_compact(folder / BASE, EMBODIMENT)
    for _ in range(3):
        assert acted(policy, "open the drawer").tobytes() == acted(base).tobytes()
    assert policy.alone == "no residual was trained for 'open the drawer'; there are 'push right'"
    assert [record.message for record in caplog.records] == [f"{policy.alone}: the base acts alone"]
    assert not np.array_equal(acted(policy, "push right"), acted(base)) and policy.alone == ""
    policy.strict = True
    with pytest.raises(RunError, match="no residual was trained for 'open the drawer'"):
        acted(policy, "open the drawer")


def test_a_residual_that_changed_after_it_was_named_is_refused(folder, tmp_path):
    (tmp_path / "a.pt").write_bytes((folder / "any.pt").read_bytes())
    write_skills(tmp_path / "residuals.json", {"push": tmp_path / "a.pt"})
    (tmp_path / "a.pt").write_bytes((folder / "push down.pt").read_bytes())
    with pytest.raises(RunError, match="a.pt has changed since"):
        load_post_trained(str(folder / BASE), tmp_path / "residuals.json", EMBODIMENT)


class Stranger(Policy):
    """A base that somebody serves."""

    cameras = ("wrist",)
    horizon = 4
    identity = "vla/1"
    asked = 0

    def reset(self):
        pass

    def act(self, observation, prompt):
        self.asked += 1
        return ActionChunk(np.full((4, 7), 0.25, np.float32), observation.stamp, prompt)


def test_any_policy_can_be_the_base(folder):
    """What the residual sees is its own affair, not the base's."""
    residual, card = load_residual(folder / "any.pt", file_digest(folder / BASE), EMBODIMENT)
    policy = PostTrainedPolicy(Stranger(), residual, EMBODIMENT, inputs=card.inputs)
    assert policy.cameras == ("wrist", "agentview") and card.inputs == SEEN
    assert np.abs(acted(policy) - 0.25).max() > 0.01
    with pytest.raises(World2ActError, match="trained on another base policy .* than the one here"):
        card.check(Stranger.identity, EMBODIMENT, folder / "any.pt")


def test_a_base_that_is_overruled_is_not_asked_unless_a_part_of_it_is_kept(tmp_path):
    path = make_residual(tmp_path, "all.pt", config=OVERRULING, used=(True,) * 7)
    residual, card = load_residual(path, file_digest(tmp_path / BASE), EMBODIMENT)
    assert card.overrules and ResidualCard.from_json(card.to_json(), path).overrules
    base = Stranger()
    policy = PostTrainedPolicy(base, residual, EMBODIMENT, inputs=card.inputs)
    final = acted(policy)
    assert base.asked == 0
    said, (frames, proprio) = np.full((1, 4, 7), 0.25, np.float32), seen_arrays(observation(), card.inputs, EMBODIMENT)
    asked = EMBODIMENT.clamp(said + residual.correct(said, proprio, frames))[0]
    assert np.allclose(final, asked, atol=1e-6) and np.abs(final - 0.25).max() > 0.01
    policy.strength = 0.5
    assert np.allclose(acted(policy), (0.25 + asked) / 2, atol=1e-6) and base.asked == 1


@pytest.mark.parametrize("kept", [{"correction": "added", "hide_base": 0.0}, {"hide_base": 0.5}, {"bound": 0.5}, {}])
def test_a_base_of_which_anything_is_left_or_told_is_asked(tmp_path, kept):
    used = (*[True] * 6, bool(kept))
    path = make_residual(tmp_path, "some.pt", config=replace(OVERRULING, **kept), used=used)
    residual, card = load_residual(path, file_digest(tmp_path / BASE), EMBODIMENT)
    base = Stranger()
    acted(PostTrainedPolicy(base, residual, EMBODIMENT, inputs=card.inputs))
    assert not card.overrules and base.asked == 1


def test_joining_base_and_residual_loads_no_torch():
    code = "import sys, world2act_core.residual.policy, world2act_core.residual.card; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
