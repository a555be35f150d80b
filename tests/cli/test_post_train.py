"""``world2act post-train``: from bags of a toy world to a policy, without a simulator."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cli.test_wm import recorded, write
from tests.learning.scenes import EMBODIMENT
from world2act_core.cli import USAGE_ERROR, main
from world2act_core.policies.address import open_policy
from world2act_core.recipes import offline
from world2act_core.recipes.settings import Recipe
from world2act_core.residual import train as residual_train
from world2act_core.runs import Stage
from world2act_core.runs import stage as runs_stage
from world2act_core.simulators import libero
from world2act_core.types import Episode, Observation
from world2act_core.world_model.compact import load_world_model

RECIPE = """
base: {steps: 15, width: 8, features: 8}
world_model: {width: 8, steps: 8, batch: 8}
stage1: {steps: 15, length: 4}
calibration: {steps: 5}
states: {steps: 300}
stage2: {steps: 15, batch: 16}
torch_threads: 1
"""


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six demonstrations, twelve episodes of the base at work, six videos without actions."""
    folder = tmp_path_factory.mktemp("logs")
    (folder / "recipe.yaml").write_text(RECIPE)
    write(folder / "demonstrations", *(recorded(index) for index in range(6)))
    write(folder / "logged", *(recorded(index) for index in range(20, 32)))
    write(folder / "videos", *(recorded(index).without_actions() for index in range(40, 46)))
    write(folder / "silent", recorded(46).without_actions())
    return folder


def command(logs: Path, out: Path, *more: str) -> list[str]:
    named = [word for name in ("demonstrations", "logged", "videos") for word in (f"--{name}", str(logs / name))]
    return ["post-train", *named, "--recipe", str(logs / "recipe.yaml"), "--out", str(out), *more]


@pytest.fixture(scope="module")
def trained(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run")
    assert main(command(logs, out)) == 0
    return out


def seen(episode: Episode) -> Observation:
    return Observation(
        0.0, {name: v[0] for name, v in episode.images.items()}, {n: v[0] for n, v in episode.state.items()}
    )


def cut(episode: Episode, steps: int) -> Episode:
    """Its first control steps, with one frame."""
    assert episode.actions is not None
    return replace(
        episode,
        stamps=episode.stamps[: steps + 1],
        state={name: rows[: steps + 1] for name, rows in episode.state.items()},
        actions=episode.actions[:steps],
        frame_steps=episode.frame_steps[:1],
        images={name: frames[:1] for name, frames in episode.images.items()},
        skills=(),
    )


def test_the_run_acts_as_base_and_as_post_trained_policy_which_differ(trained: Path) -> None:
    observation = seen(recorded(50))
    base, post = (
        open_policy(f"run:{trained}{part}", EMBODIMENT).act(observation, "push right").actions for part in ("#base", "")
    )
    EMBODIMENT.check_chunk(open_policy(f"run:{trained}", EMBODIMENT).act(observation, "push right"))
    assert not np.array_equal(base, post)


def test_each_stage_says_what_it_has_read(trained: Path) -> None:
    metrics = {name: json.loads((trained / name / "manifest.json").read_text())["metrics"]
               for name in ("demonstrations", "logged", "videos", "stage2")}  # fmt: skip
    assert metrics["demonstrations"] == {"episodes": 6, "with_actions": 6, "chunks": 36, "left_out": 0}
    assert metrics["logged"] == {"episodes": 12, "with_actions": 12, "chunks": 72, "left_out": 0}
    assert metrics["videos"]["episodes"] == 12, "the demonstrations show the skill too"
    assert metrics["stage2"]["chunks"] == 72 + 36 + 36, "logged, shown by videos alone, and demonstrated"


def test_a_run_made_from_logs_names_no_task_and_has_no_gate(
    trained: Path, logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests = {path.parent.name: json.loads(path.read_text()) for path in trained.glob("*/manifest.json")}
    assert len(manifests) == 9
    for name, manifest in manifests.items():
        assert not {"suite", "task", "jitter_cm"} & set(manifest["config"]), name
    assert manifests["logged"]["starts"] == [recorded(index).start_id for index in range(20, 32)]
    assert main(["gate", str(trained)]) == USAGE_ERROR
    assert "names no task" in capsys.readouterr().err
    assert not (trained / "gate.json").exists()


def test_a_recipe_can_have_it_learn_at_the_frames_of_videos_and_demonstrations_too(logs: Path, tmp_path: Path) -> None:
    """One demonstration lacks its actions: it shows the skill, and no more; so do the last logged episodes."""
    recipe, silent, unlabelled = tmp_path / "recipe.yaml", tmp_path / "silent", tmp_path / "unlabelled"
    recipe.write_text(RECIPE + "stage2_on_videos: real\nstage2_on_demonstrations: 0.3\n")
    write(silent, recorded(70).without_actions())
    write(unlabelled, *(recorded(index).without_actions() for index in range(71, 75)))
    demonstrations = ["--demonstrations", str(logs / "demonstrations"), str(silent)]
    logged = ["--logged", str(logs / "logged"), str(unlabelled)]
    assert main([*command(logs, tmp_path / "run"), *demonstrations, *logged, "--recipe", str(recipe)]) == 0
    metrics = {name: json.loads((tmp_path / "run" / name / "manifest.json").read_text())["metrics"]
               for name in ("logged", "stage1", "stage2")}  # fmt: skip
    assert metrics["logged"]["episodes"] == 16 and metrics["logged"]["with_actions"] == 12
    assert metrics["stage1"]["chunks"] == (6 + 12 - 2) * 6, "two of those with actions are kept for measuring"
    assert metrics["stage2"]["chunks"] == (72 + 24) + 36 + 36


def test_it_goes_by_the_logged_states_at_the_frames_of_videos_unless_a_recipe_wants_what_they_show(
    trained: Path, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    shutil.copytree(trained, run)
    made = {name: json.loads((run / name / "manifest.json").read_text()) for name in ("states", "stage2")}
    assert made["stage2"]["inputs"]["states"] and set(made["states"]["inputs"]) == {"demonstrations", "logged"}
    assert made["states"]["metrics"]["r2"] > 0.8, "where the hand has gone tells how it was pushed"
    assert main(command(logs, run)) == 0
    out = capsys.readouterr().out
    assert f"read from how the robot's state changed: R² {made['states']['metrics']['r2']:.2f}" in out
    assert "commanded by positions" not in out
    assert "ur5e is commanded by positions (joint_positions)" in offline.untried("ur5e")
    recipe.write_text(RECIPE + "stage2_on_videos: real\n")
    assert main([*command(logs, run), "--recipe", str(recipe)]) == 0
    assert "states" not in json.loads((run / "stage2" / "manifest.json").read_text())["inputs"]
    assert (run / "stage2" / "residual.pt").read_bytes() != (trained / "stage2" / "residual.pt").read_bytes()
    assert (run / "stage1" / "alignment.pt").read_bytes() == (trained / "stage1" / "alignment.pt").read_bytes()


def test_what_is_done_is_not_done_again_and_a_new_log_is_learned_from(
    trained: Path, logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "stage2" / "residual.pt").stat().st_mtime_ns
    assert main(command(logs, trained)) == 0
    assert (trained / "stage2" / "residual.pt").stat().st_mtime_ns == before
    assert f"policy: run:{trained}" in capsys.readouterr().out


def test_without_logs_of_the_base_there_is_a_base_to_log_and_the_command_goes_on_with_them(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "short", cut(recorded(60), steps=2))
    given = [
        "post-train",
        "--demonstrations",
        str(logs / "demonstrations"),
        str(tmp_path / "short"),
        "--recipe",
        str(logs / "recipe.yaml"),
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert f"base: run:{tmp_path / 'run'}#base" in said and "--logged FOLDER" in said
    assert "left out of demonstrations: 1, the first is" in said and "shorter than a chunk of" in said
    open_policy(f"run:{tmp_path / 'run'}#base", EMBODIMENT).act(seen(recorded(50)), "push right")
    base = tmp_path / "run" / "base" / "policy.pt"
    before = base.stat().st_mtime_ns
    assert main([*given, "--logged", str(logs / "logged")]) == 0
    assert base.stat().st_mtime_ns == before
    assert f"policy: run:{tmp_path / 'run'}" in capsys.readouterr().out


def test_logs_are_read_from_where_they_lie_now(
    trained: Path, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a container they have other names than on the machine that began."""
    run, there = shutil.copytree(trained, tmp_path / "run"), shutil.copytree(logs, tmp_path / "first")
    base = command(there, run)[:3] + ["--recipe", str(logs / "recipe.yaml"), "--out", str(run), "--seed", "1"]
    assert main(base) == 0
    there = there.rename(tmp_path / "second")
    assert main(command(there, run, "--seed", "1")) == 0
    said = capsys.readouterr().out
    assert "demonstrations: done before" in said and "stage1: configuration, code or inputs have changed" in said


def test_what_is_named_for_two_things_is_refused(
    trained: Path, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A demonstration among the logged episodes would be learned from and measured on."""
    for option in ("demonstrations", "videos"):
        assert (
            main(command(logs, tmp_path / "run", "--logged", str(logs / "logged"), str(logs / option))) == USAGE_ERROR
        )
        assert f"{logs / option} is among --{option} and among --logged" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "run").exists()


def test_a_given_base_is_kept_bit_for_bit(trained: Path, logs: Path, tmp_path: Path) -> None:
    given = trained / "base" / "policy.pt"
    assert main(command(logs, tmp_path, "--base", str(given), "--seed", "1")) == 0
    assert (tmp_path / "base" / "policy.pt").read_bytes() == given.read_bytes()


def test_a_given_base_is_shown_what_it_was_trained_to_see(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other streams and a larger image than the recipe's."""
    other = tmp_path / "other.yaml"
    other.write_text("base: {steps: 2, width: 8, features: 8, image_size: 96, streams: [eef_position]}\n")
    demonstrations = ["--demonstrations", str(logs / "demonstrations")]
    assert main(["post-train", *demonstrations, "--recipe", str(other), "--out", str(tmp_path / "made")]) == 0
    given = tmp_path / "made" / "base" / "policy.pt"
    assert main(command(logs, tmp_path / "run", "--base", str(given))) == 0
    assert load_world_model(tmp_path / "run" / "world_model" / "world_model.pt").config.image_size == 96
    policy = open_policy(f"run:{tmp_path / 'run'}", EMBODIMENT)
    assert policy.streams == ("eef_position",)
    policy.act(seen(recorded(50)), "push right")
    asked = command(logs, tmp_path / "run", "--base", str(given), "--cameras", "wrist")
    assert main(asked) == USAGE_ERROR
    assert "sees the cameras agentview, but post-training was to see wrist" in capsys.readouterr().err


def test_a_base_that_is_a_folder_is_told_which_file_to_name(
    trained: Path, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(logs, tmp_path / "run", "--base", str(trained))) == USAGE_ERROR
    assert f"--base {trained} is not a file: name that of the policy, as RUN/base/policy.pt" in capsys.readouterr().err


def test_stage_2_is_trained_again_when_its_code_changes_but_not_when_a_simulators_does(
    trained: Path, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, source, changed = shutil.copytree(trained, tmp_path / "run"), runs_stage.source_of, [libero]
    monkeypatch.setattr(runs_stage, "source_of", lambda module: source(module) + "# and more\n" * (module in changed))
    assert main(command(logs, run)) == 0
    assert "stage2: done before" in capsys.readouterr().out
    changed.append(residual_train)
    assert main(command(logs, run)) == 0
    said = capsys.readouterr().out
    assert "stage2: configuration, code or inputs have changed" in said and "stage1: done before" in said


def test_a_mistaken_path_clears_nothing_that_was_learned(
    trained: Path, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    write(tmp_path / "short", cut(recorded(60), steps=2))
    assert main(command(logs, run, "--logged", str(tmp_path / "short"))) == USAGE_ERROR
    assert "no episode of --logged can be used" in capsys.readouterr().err.replace("\n", " ")
    assert main(command(logs, run)) == 0
    assert capsys.readouterr().out.count("done before") == 9
    assert not (run / "left_out.json").exists(), "it is of the command that was refused"


def test_too_few_episodes_that_show_the_skill_are_refused_before_anything_is_trained(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "four", *(recorded(index) for index in range(4)))
    given = [word for word in command(logs, tmp_path / "run") if word not in ("--videos", str(logs / "videos"))]
    assert main([*given, "--demonstrations", str(tmp_path / "four")]) == USAGE_ERROR
    error = capsys.readouterr().err.replace("\n", " ")
    assert "4 episodes show the skill (--demonstrations and --videos): the world model needs at least 5" in error
    assert not (tmp_path / "run" / "base").exists()


@pytest.mark.parametrize("name", ["demonstrations", "logged", "videos"])
def test_what_is_wrong_with_logs_of_which_nothing_can_be_used_is_said_and_listed(
    name: str, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "short", *(cut(recorded(index), steps=2) for index in (60, 61)))
    assert main(command(logs, tmp_path / "run", f"--{name}", str(tmp_path / "short"))) == USAGE_ERROR
    error = capsys.readouterr().err.replace("\n", " ")
    assert f"no episode of --{name} can be used: 2 left out, the first is square-60 of {tmp_path / 'short'}" in error
    assert "shorter than a chunk of 4 steps" in error
    listed = tmp_path / "run" / "left_out.json"
    assert str(listed) in error
    assert [entry.partition(" of ")[0] for entry in json.loads(listed.read_text())] == ["square-60", "square-61"]


@pytest.mark.parametrize(
    ("more", "seed", "embodiment", "cameras"),
    [
        ([], 7, "franka_fr3", ("wrist",)),
        (["--seed", "0", "--embodiment", "libero_panda", "--cameras", "agentview"], 0, "libero_panda", ("agentview",)),
    ],
)
def test_the_recipe_says_what_the_command_does_not(
    more: list[str],
    seed: int,
    embodiment: str,
    cameras: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, asked = tmp_path / "mine.yaml", []
    path.write_text("seed: 7\nembodiment: franka_fr3\ncameras: [wrist]\n")

    def noted(logs: offline.Logs, folder: Path, recipe: Recipe, cameras: Sequence[str] | None) -> dict[str, Stage]:
        asked.append((recipe.seed, recipe.embodiment, tuple(cameras or ())))
        return {}

    monkeypatch.setattr(offline, "post_train", noted)
    monkeypatch.setattr(offline, "summary", lambda stages, folder: "")
    given = ["post-train", "--demonstrations", "demos", "--out", str(tmp_path), "--recipe", str(path)]
    assert main([*given, *more]) == 0
    assert asked == [(seed, embodiment, cameras)]


def test_a_recipe_for_a_simulator_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("rounds: 2\n")
    given = ["post-train", "--demonstrations", "demos", "--out", str(tmp_path / "run"), "--recipe", str(path)]
    assert main(given) == USAGE_ERROR
    assert "mine.yaml: rounds means nothing on logs" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ["--logged", "silent"],
            "6 demonstrations and 0 logged episodes have actions: post-training needs at least 16",
        ),
        (["--demonstrations", "videos"], "no demonstration has actions"),
        (["--logged", "nowhere"], "there is nothing at"),
        (["--cameras", "behind"], "libero_panda has no camera behind: it has"),
        (["--base", "recipe.yaml"], "is no compact policy"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_in_one_sentence(
    change: list[str], said: str, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, value = change
    value = value if name == "--cameras" else str(logs / value)
    assert main(command(logs, tmp_path, name, value)) == USAGE_ERROR
    error = capsys.readouterr().err
    assert said in error.replace("\n", " "), error
    assert "Traceback" not in error
