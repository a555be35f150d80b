"""``world2act post-train --base ADDRESS``: a base in another process is asked at every logged chunk, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.test_post_train import RECIPE, command, logs, seen, trained
from tests.cli.test_wm import recorded, write
from tests.learning.scenes import EMBODIMENT
from tests.policies.peering import address, known_chunk, peer
from tests.policies.served import serving
from world2act_core.cli import USAGE_ERROR, main
from world2act_core.embodiment import Embodiment
from world2act_core.episodes.sources import iterate_source
from world2act_core.errors import RunError, World2ActError
from world2act_core.policies.address import open_policy, register_policy_scheme
from world2act_core.policies.compact import load_compact
from world2act_core.policies.identity import policy_digest
from world2act_core.policies.protocol import Policy
from world2act_core.recipes.given_base import AskedBase, ask, given_base
from world2act_core.residual.bases import open_named, read_base_address
from world2act_core.residual.export import export_run
from world2act_core.residual.policy import PostTrainedPolicy
from world2act_core.runs import file_digest
from world2act_core.types import ActionChunk, Episode, Observation

__all__ = ["logs", "trained"]  # fixtures


@pytest.fixture(scope="module")
def port(trained: Path) -> Iterator[int]:
    """The base of ``trained``, served in another process, as long as this module's tests run."""
    with serving("--policy", f"compact:{trained / 'base' / 'policy.pt'}", "--protocol", "gr00t") as (_, port):
        yield port


@pytest.fixture(scope="module")
def asked(logs: Path, port: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("asked")
    assert main(command(logs, out, "--base", address("gr00t", port))) == 0
    return out


def acted(reference: str) -> Any:
    return open_policy(reference, EMBODIMENT).act(seen(recorded(50)), "push right").actions


def answers_in(run: Path, *names: str) -> dict[str, Any]:
    return {name: np.load(run / f"base_at_{name}" / "answers.npy") for name in names}


def expected(trained: Path, *sources: Path) -> Any:
    """What the base in its file does at every chunk of some bags."""
    base = load_compact(trained / "base" / "policy.pt", EMBODIMENT)
    found = []
    for episode in (e for s in sources for e in iterate_source(s, EMBODIMENT, ["agentview"], frame_every=4)):
        for row, step in enumerate(episode.chunk_starts(4)):
            images = {name: frames[row] for name, frames in episode.images.items()}
            state = {name: rows[step] for name, rows in episode.state.items()}
            found.append(base.act(Observation(0.0, images, state), "").actions)
    return found


def test_the_run_keeps_what_the_base_said_at_every_chunk_and_learns_as_beside_its_file(
    asked: Path, trained: Path, logs: Path
) -> None:
    (answers,) = answers_in(asked, "logged").values()
    assert answers.shape == (72, 4, 7) and np.ptp(answers) > 0.05
    np.testing.assert_allclose(answers, expected(trained, logs / "logged"), atol=1e-6)
    named = read_base_address(asked / "base" / "base.json")
    assert named.identity == file_digest(trained / "base" / "policy.pt") and named.cameras == ("agentview",)
    assert not (asked / "base" / "policy.pt").exists()
    np.testing.assert_allclose(acted(f"run:{asked}"), acted(f"run:{trained}"), atol=1e-3)
    np.testing.assert_allclose(acted(f"run:{asked}#base"), acted(f"run:{trained}#base"), atol=1e-6)
    assert np.abs(acted(f"run:{asked}") - acted(f"run:{asked}#base")).max() > 0.01


def test_training_goes_on_without_the_base_once_it_has_answered(
    trained: Path, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(RECIPE + "stage2_on_videos: real\nstage2_on_demonstrations: 0.3\n")
    names = "logged", "shown", "demonstrations"
    with serving("--policy", f"compact:{trained}", "--protocol", "openpi") as (_, port):
        there = address("openpi", port, connect_timeout_ms=2000)
        assert main(command(logs, run, "--base", there, "--recipe", str(recipe))) == 0
        capsys.readouterr()
        patient = address("openpi", port, connect_timeout_ms=3000)
        assert main(command(logs, run, "--base", patient, "--recipe", str(recipe))) == 0
        said = capsys.readouterr().out
        assert all(f"base_at_{name}: done before" in said for name in names), "where it is does not matter"
    answers = answers_in(run, *names)
    for name, found in answers.items():
        source = logs / ("videos" if name == "shown" else name)
        np.testing.assert_allclose(found, expected(trained, source), atol=1e-6)
    without = command(logs, run, "--base", patient, "--recipe", str(recipe), "--seed", "1")
    assert main(without) == 0
    said = capsys.readouterr().out
    assert "going on with what it answered before" in said and "base_at_shown: done before" in said
    assert "stage2: configuration, code or inputs have changed" in said
    more = write(tmp_path / "more", recorded(33))
    assert main([*without, "--logged", str(logs / "logged"), str(more)]) == USAGE_ERROR
    assert "cannot be connected" in capsys.readouterr().err.replace("\n", " "), "there is more to ask, and nobody"
    assert np.array_equal(answers_in(run, "logged")["logged"], answers["logged"]), "nothing is lost"
    assert main(command(logs, tmp_path / "new", "--base", patient)) == USAGE_ERROR
    with pytest.raises(World2ActError, match="cannot be connected"):
        open_policy(f"run:{run}", EMBODIMENT)


def test_a_base_is_asked_with_the_prompts_that_were_carried_out_though_models_learn_by_whole_tasks(
    logs: Path, tmp_path: Path
) -> None:
    register_policy_scheme("prompted", "tests.cli.test_post_train_asked:open_prompted")
    assert main(command(logs, tmp_path, "--base", "prompted:")) == 0
    (answers,) = answers_in(tmp_path, "logged").values()
    again = np.array([False] * 3 + [True] * 3)  # six chunks an episode, of which the second skill takes three
    assert np.array_equal(answers[:, 0, 0] > 0, np.tile(again, 12))


class Prompted(Policy):
    """Says whether it was told the second skill of a toy episode."""

    cameras, horizon, identity = ("agentview",), 4, "a"

    def reset(self) -> None:
        pass

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        return ActionChunk(np.full((4, 7), prompt.endswith("again"), np.float32), observation.stamp, prompt)


def open_prompted(reference: str, embodiment: Embodiment) -> Policy:
    return Prompted()


def test_a_base_of_which_nothing_would_be_left_is_opened_and_not_asked(
    logs: Path, trained: Path, tmp_path: Path, port: int
) -> None:
    """The demonstrations use the gripper too, so what is learned says the whole action; a penalty would count from
    what the base says."""
    episodes = [recorded(index) for index in range(6)]
    demonstrations = write(tmp_path / "demonstrations", *(gripping(episode) for episode in episodes))
    given = command(logs, tmp_path / "run", "--demonstrations", str(demonstrations), "--base", address("gr00t", port))
    assert main(given) == 0
    assert {path.name for path in (tmp_path / "run").glob("base*")} == {"base"}
    assert np.ptp(acted(f"run:{tmp_path / 'run'}")) > 0
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.replace("stage2: {", "stage2: {penalty: 0.01, "))
    assert main([*given, "--recipe", str(recipe)]) == 0
    assert len(list((tmp_path / "run").glob("base_at_*"))) == 3


def gripping(episode: Episode) -> Episode:
    """With a gripper that closes halfway."""
    assert episode.actions is not None
    actions = episode.actions.copy()
    actions[:, -1] = np.where(np.arange(len(actions)) < len(actions) // 2, -1, 1)
    return replace(episode, actions=actions)


def test_another_mapping_is_another_base(
    trained: Path, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = resources.files("world2act_core.policies") / "mappings" / "gr00t" / "libero_panda.yaml"
    (tmp_path / "elsewhere").mkdir()
    mine = tmp_path / "mine.yaml"
    mine.write_text(shipped.read_text())
    with serving("--policy", f"compact:{trained}", "--protocol", "gr00t") as (_, port):
        there = address("gr00t", port, mapping="mine.yaml")
        monkeypatch.chdir(tmp_path)
        assert main(command(logs, Path("run"), "--base", there)) == 0
        monkeypatch.chdir(tmp_path / "elsewhere")
        acted("run:../run")
        mine.write_text(mine.read_text().replace("mirror: true", "mirror: false"))
        with pytest.raises(RunError, match="the mapping of gr00t://.* has changed since the residual was trained"):
            open_policy("run:../run", EMBODIMENT)
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        assert main(command(logs, Path("run"), "--base", there)) == 0
        assert "base_at_logged: configuration, code or inputs have changed" in capsys.readouterr().out
        acted("run:run")


def test_another_policy_at_the_address_is_refused(asked: Path, port: int) -> None:
    named = read_base_address(asked / "base" / "base.json")
    with pytest.raises(RunError, match=r"is another policy now \(\w{12}\) than .* trained on \(0{12}\)"):
        open_named(replace(named, identity=64 * "0"), EMBODIMENT)
    with pytest.raises(World2ActError, match=r"says that it serves \w{12}, its address says mine: leave identity out"):
        open_policy(address("gr00t", port, identity="mine"), EMBODIMENT)


def test_a_strangers_server_is_known_by_what_its_address_calls_it(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NVIDIA's protocol has no word for which weights are served."""
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(RECIPE + "stage2_on_videos: real\nstage2_on_demonstrations: 0.3\n")
    with peer("gr00t", "--cameras", "image") as server:
        assert main(command(logs, run, "--base", address("gr00t", server.port))) == USAGE_ERROR
        assert "does not say which policy it is" in capsys.readouterr().err.replace("\n", " ")
        named = address("gr00t", server.port, identity="panda-finetune-3")
        assert main(command(logs, run, "--base", named, "--recipe", str(recipe))) == 0
        policy = open_policy(f"run:{run}", EMBODIMENT)
        assert isinstance(policy, PostTrainedPolicy) and policy.horizon == 4
        assert policy.metadata["images"] == {"agentview": [256, 256]}, "the simulator must render what the base knows"
        assert policy.act(seen(recorded(50)), "push right").timing["round_trip"] > 0
    assert read_base_address(run / "base" / "base.json").identity == "panda-finetune-3"
    answers = answers_in(run, "logged", "shown", "demonstrations")
    assert [len(chunks) for chunks in answers.values()] == [72, 36, 36]
    np.testing.assert_allclose(answers["logged"], np.tile(known_chunk(0, 16)[:4], (72, 1, 1)), atol=1e-7)


class Failing(Policy):
    """Remembers its episode: says how often it was asked in it; ends in its second one, once."""

    cameras, horizon, stateful = ("agentview",), 8, True

    def __init__(self) -> None:
        self.asked = self.episodes = 0
        self.prompts: list[str] = []

    def reset(self) -> None:
        self.asked, self.episodes = 0, self.episodes + 1

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        self.prompts.append(prompt)
        if self.episodes == 2 and self.asked == 3:
            raise World2ActError("no answer")
        self.asked += 1
        return ActionChunk(np.full((8, 7), self.asked / 5, np.float32), observation.stamp, prompt)


def test_what_was_answered_before_a_kill_is_not_asked_again(tmp_path: Path) -> None:
    policy, episodes = Failing(), [recorded(index) for index in range(3)]
    how = EMBODIMENT, tmp_path / "kept", "asking", 18
    with pytest.raises(World2ActError, match="no answer"):
        ask(policy, episodes, *how)
    assert len(policy.prompts) == 6 + 4
    answers = ask(policy, episodes, *how)
    assert len(policy.prompts) == 10 + 12 and policy.episodes == 4, "the second episode was asked from its beginning"
    assert answers.shape == (18, 4, 7) and answers.max() == 1.0, "held in range"
    assert np.array_equal(answers[:, 0, 0], np.tile(np.array([0.2, 0.4, 0.6, 0.8, 1.0, 1.0], np.float32), 3))
    assert policy.prompts[:6] == ["push right"] * 3 + ["push right again"] * 3


def test_an_export_names_the_base_that_it_cannot_hold(asked: Path, logs: Path, tmp_path: Path) -> None:
    export_run(asked, tmp_path / "export", EMBODIMENT, [logs / "logged"])
    assert not (tmp_path / "export" / "base.onnx").exists()
    np.testing.assert_allclose(acted(f"onnx:{tmp_path / 'export'}"), acted(f"run:{asked}"), atol=1e-5)


@pytest.mark.parametrize("how", ["{}/base/policy.pt", "compact:{}", "compact:{}/base/policy.pt", "run:{}#base"])
def test_a_compact_base_is_its_file_however_it_is_named(how: str, trained: Path) -> None:
    file = given_base(how.format(trained), EMBODIMENT, trained, print)
    assert isinstance(file, Path) and file_digest(file) == file_digest(trained / "base" / "policy.pt")


def test_a_run_is_no_base_of_its_own_and_the_base_of_one_is_what_that_run_names(asked: Path, port: int) -> None:
    with pytest.raises(World2ActError, match="a run cannot be its own base"):
        given_base(f"run:{asked}", EMBODIMENT, asked, print)
    base = given_base(f"run:{asked}#base", EMBODIMENT, asked, print)
    assert isinstance(base, AskedBase) and base.named == read_base_address(asked / "base" / "base.json")
    base.close()


def test_a_checkpoint_is_known_by_its_weights_and_settings(tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json", "README.md"):
        (tmp_path / name).write_text(name)
    before = policy_digest(f"lerobot:{tmp_path}?device=cpu")
    (tmp_path / "README.md").write_text("more")
    assert before and policy_digest(f"lerobot:{tmp_path}?device=cpu") == before
    (tmp_path / "config.json").write_text("another normalisation")
    assert policy_digest(f"lerobot:{tmp_path}?device=cpu") != before
