"""Recipe files: what they may say, and that no split shares a start with the evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from world2act_core.cli import main
from world2act_core.errors import World2ActError
from world2act_core.recipes.overrides import as_json
from world2act_core.recipes.settings import Recipe, read_recipe

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [None, *sorted((ROOT / "recipes").glob("*.yaml"))]


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path):
    recipe = read_recipe(written(tmp_path, "rounds: 2\nvideo_noise: [0]\ncameras: [agentview]\nstage1: {steps: 7}\n"))
    assert (recipe.rounds, recipe.video_noise, recipe.cameras, recipe.stage1.steps) == (2, (0,), ("agentview",), 7)
    assert recipe.stage1.batch == Recipe().stage1.batch
    assert recipe.stage2 == Recipe().stage2


def test_an_empty_file_is_the_demo(tmp_path):
    assert read_recipe(written(tmp_path, "# nothing\n")) == Recipe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rouns: 2", r"mine\.yaml: rouns is not known here; known are .*rounds"),
        ("stage1: {stepz: 2}", r"mine\.yaml: stage1: stepz is not known here; known are .*steps"),
        ("rounds: three", r"mine\.yaml: rounds = 'three' must be of the kind of \d"),
        ("rounds: 1.5", r"mine\.yaml: rounds = 1\.5 must be of the kind of \d"),
        ("seed: true", r"mine\.yaml: seed = True must be of the kind of 0"),
        ("stage2: {penalty: small}", r"mine\.yaml: stage2: penalty = 'small' must be of the kind of 0\."),
        ("cameras: agentview", r"mine\.yaml: cameras = 'agentview' must be of the kind of \('agentview'"),
        ("pair_noise: [0.1, loud]", r"mine\.yaml: pair_noise = \[0\.1, 'loud'\] must be of the kind of \(0\.0"),
        ("stage1: 3", r"mine\.yaml: stage1 = 3 must be a mapping"),
        ("[1, 2]", r"mine\.yaml = \[1, 2\] must be a mapping"),
        ("rounds: [", r"mine\.yaml is not YAML: .*line 1"),
    ],
)
def test_what_a_recipe_does_not_know_is_refused_with_file_and_key(tmp_path, text, message):
    with pytest.raises(World2ActError, match=message) as refused:
        read_recipe(written(tmp_path, text))
    assert len(str(refused.value).splitlines()) == 1


def test_the_command_says_so_in_one_sentence(tmp_path, capsys):
    assert main(["demo", "--run", str(tmp_path / "run"), "--recipe", str(tmp_path / "none.yaml")]) == 2
    assert capsys.readouterr().err == f"world2act demo: there is no recipe {tmp_path / 'none.yaml'}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda path: path.name if path else "demo")
def test_settings_survive_the_manifest(tmp_path, recipe):
    settings = read_recipe(recipe)
    assert read_recipe(written(tmp_path, json.dumps(as_json(settings)))) == settings


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda path: path.name if path else "demo")
def test_no_split_shares_an_official_state_with_the_evaluation_or_another_split(recipe):
    settings = read_recipe(recipe)
    assert not settings.pretraining.count, "it may share the demonstrations' states"
    splits = {**settings.learned_from, "evaluation": settings.evaluation}
    assert len(splits) == 5
    states = [{start.index for start in settings.starts(split)} for split in splits.values()]
    ids = [start.id for split in splits.values() for start in settings.starts(split)]
    assert sum(map(len, states)) == len(set.union(*states))
    assert len(ids) == len(set(ids)) == sum(split.count for split in splits.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: {cameras: [wrist]}", r"base.cameras \['wrist'\] is decided by cameras: leave it out"),
        ("clips: chunks", "clips is 'chunks', expected 'skills' or 'tasks'"),
        ("stage1: {matching: all}", "matching is 'all', expected one of chunks, marginal, global"),
        ("stage2: {over: all}", "the contrast is over 'all', expected 'chunks' or 'sequences'"),
        ("videos: {first: 30, last: 40}", "videos and evaluation share official states"),
        ("stage2_on_demonstrations: 1", "stage2_on_demonstrations is 1.0, expected a share of at least 0, below 1"),
        ("residual: {correction: added}", "would add to an action that it is never told: set hide_base: 0"),
        ("videos: {first: 20, last: 10}", "videos holds no start: it needs 0 <= first <= last and count >= 1"),
        ("evaluation: {count: 0}", "evaluation holds no start"),
        ("evaluation: {last: 60}", "evaluation goes to state 60: LIBERO's last is 49"),
        ("jitter_cm: 0", "evaluation: with jitter_cm = 0 its 15 official states are all .* make it at most 15"),
        ("jitter_cm: -1", "jitter_cm = -1, expected 0 or more"),
        ("world_model: {views: 1, image_size: 96}", r"world_model\.image_size is decided by base\.image_size"),
        ("imagination: {match: progress}", "set start to skill or episode"),
        ("videos: {count: 3}", r"videos\.count = 3 leaves nothing to measure on"),
        ("free_pairs: {count: 4}", "leaves nothing to measure on: make it at least 16"),
        ("rounds: 0", r"rounds = 0, expected 1 to 48, which is post_training\.count"),
        ("rounds: 5\npost_training: {count: 4}", r"rounds = 5, expected 1 to 4, which is post_training\.count"),
        ("workers: 0", "workers = 0, expected at least 1"),
        ("torch_threads: 0", "torch_threads = 0, expected at least 1"),
        ("seed: -1", "seed = -1, expected 0 or more"),
        ("base: {batch: -3}", r"base\.batch = -3, expected at least 1"),
        ("base: {image_size: 0}", r"base\.image_size = 0, expected at least 1"),
        ("base: {steps: 0}", r"base\.steps = 0, expected at least 1"),
        ("stage2: {steps: 0}", r"stage2\.steps = 0, expected at least 1"),
        ("pair_noise: []", r"pair_noise = \[\], expected at least one noise \(0 is none\)"),
        ("video_noise: []", r"video_noise = \[\], expected at least one noise"),
        ("stage2: {over: sequences, batch: 4}", r"batch = 4 chunks hold no sequence of length = 8: .*at least 8"),
        ("stage2: {over: sequences, length: 0}", "length = 0, expected at least 1"),
        ("stage2: {batch: 0}", "batch = 0, expected at least 1"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused_before_any_work(tmp_path, text, message):
    with pytest.raises(World2ActError, match=message):
        read_recipe(written(tmp_path, text))


def test_an_arm_under_joint_commands_is_not_asked_to_rest_unless_a_recipe_says_so(tmp_path: Path) -> None:
    """Asked at every chunk to stay where it stands it would creep; as on logs."""
    recipe = tmp_path / "joints.yaml"
    recipe.write_text("suite: libero_goal@libero_panda_joints\n")
    assert read_recipe(recipe).unused == "base"
    recipe.write_text("suite: libero_goal@libero_panda_joints\nunused: still\n")
    assert read_recipe(recipe).unused == "still"
    assert read_recipe(None).unused == "still"
