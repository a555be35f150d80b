"""What a plan may say, and that a wrong one is refused in one sentence before any work."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from world2act_core.cli import USAGE_ERROR, main
from world2act_core.errors import World2ActError
from world2act_core.recipes.study.methods import METHODS
from world2act_core.recipes.study.plan import Cell, StudyPlan, is_committed, read_plan

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / "recipes" / "study").glob("*.yaml"))


def plan_of(folder: Path, text: str) -> StudyPlan:
    path = folder / "mine.yaml"
    path.write_text(text)
    return read_plan(path)


def test_seeds_go_round_the_tasks(tmp_path):
    plan = plan_of(tmp_path, "tasks: [libero_goal/8, libero_object/0]\nseeds: [0, 4]")
    assert plan.cells == [
        Cell("libero_goal", 8, 0),
        Cell("libero_object", 0, 0),
        Cell("libero_goal", 8, 4),
        Cell("libero_object", 0, 4),
    ]


def test_a_plan_is_known_by_the_hash_of_its_file(tmp_path):
    one, other = (plan_of(tmp_path, text) for text in ("name: a\n", "name: a # a remark\n"))
    assert one.sha256 == hashlib.sha256(b"name: a\n").hexdigest()
    assert one.sha256 != other.sha256 and one.settings_sha256 == other.settings_sha256


def test_settings_of_the_training_change_the_hash_of_the_settings(tmp_path):
    assert plan_of(tmp_path, "{}").settings_sha256 != plan_of(tmp_path, "recipe: {rounds: 2}").settings_sha256


def test_a_cells_recipe_is_its_own(tmp_path):
    plan = plan_of(tmp_path, "held_out: {count: 7}\nrecipe: {rounds: 2}\nseeds: [3]")
    recipe = plan.cell_recipe(plan.cells[0])
    assert (recipe.suite, recipe.task, recipe.seed, recipe.rounds) == ("libero_goal", 8, 3, 2)
    assert [s.id for s in recipe.starts(recipe.evaluation)] == [
        s.id for s in plan.starts(plan.cells[0], "base")["held_out"]
    ]


def test_tasks_may_be_of_an_arm_under_joint_commands(tmp_path):
    plan = plan_of(tmp_path, "tasks: [libero_goal@libero_panda_joints/8]\nmethods: [base, post_trained]")
    cell = plan.cells[0]
    assert cell.name == "libero_goal@libero_panda_joints_8_s0"
    recipe = plan.cell_recipe(cell)
    assert recipe.embodiment == "libero_panda_joints" and recipe.unused == "base"
    assert plan.starts(cell, "base")["held_out"][0].id.startswith("libero_goal@libero_panda_joints/8/i")
    said = plan_of(tmp_path, "tasks: [libero_goal@libero_panda_joints/8]\nrecipe: {unused: still}")
    assert said.cell_recipe(cell).unused == "still"


def test_only_named_methods_are_tried_on_the_shifted_starts(tmp_path):
    plan = plan_of(tmp_path, "methods: [base, other]\nshifted: {jitter_cm: 5.5}")
    cell = plan.cells[0]
    assert list(plan.starts(cell, "other")) == ["held_out"]
    sets = plan.starts(cell, "base")
    assert [start.jitter_cm for start in sets["shifted"]] == [5.5] * 25
    assert not {s.id for s in sets["shifted"]} & {s.id for s in sets["held_out"]}


def test_comparisons_are_read_over_their_defaults(tmp_path):
    text = "methods: [base, a]\nanalysis: {comparisons: [{method: a, against: base, at_least: 25}]}"
    (comparison,) = plan_of(tmp_path, text).analysis.comparisons
    assert (comparison.kind, comparison.at_least, comparison.worst_task) == ("superior", 25.0, 100.0)


def test_without_comparisons_there_are_none(tmp_path):
    assert plan_of(tmp_path, "analysis: {alpha: 0.01}").analysis.comparisons == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tusks: [libero_goal/8]", r"tusks is not known here; known are .*tasks"),
        ("tasks: [libero_goal]", "'libero_goal' is not a task: expected something like libero_goal/8"),
        ("tasks: [libero_goal/99]", "task 'libero_goal/99' is not known; known are .*libero_goal/8"),
        ("tasks: []", "tasks = .* must name at least one thing"),
        ("seeds: [0, 0]", r"seeds = \[0, 0\] must name at least one thing, and each once"),
        ("seeds: [zero]", "seeds = .* must be of the kind of"),
        ("methods: [base, a/b]", "method 'a/b' cannot name a folder"),
        ("shifted_methods: [best]", "method 'best' is not known; known are base"),
        ("held_out: {first: 30}", "post_training and held_out share official states"),
        ("shifted: {first: 24}", "and shifted share official states|videos and shifted"),
        ("recipe: {videos: {first: 9}}", "demonstrations and videos share official states"),
        ("recipe: {videos: {last: 40}}", "videos and evaluation share official states"),
        ("recipe: {pretraining: {count: 9, last: 12}}", "pretraining and videos share official states"),
        ("recipe: {pretraining: {count: -1}}", "pretraining holds no start"),
        ("held_out: {count: 0}", "held_out holds no start"),
        ("held_out: {first: 49, last: 40}", "held_out holds no start"),
        ("shifted: {jitter_cm: 3}", "shifted displaces as far as held_out"),
        ("recipe: {seed: 1}", "recipe: seed is decided by the rest of the plan"),
        ("recipe: {evaluation: {count: 2}}", "recipe: evaluation is decided by the rest of the plan"),
        ("sha256: abc", "sha256 is decided by the rest of the plan"),
        ("analysis: {comparisons: [{method: a}]}", "method 'a' is not known"),
        ("analysis: {comparisons: [{method: base, against: base}]}", "cannot be compared with itself"),
        ("analysis: {comparisons: [{methods: base}]}", "comparisons 1: methods is not known here"),
        ("analysis: {comparisons: 3}", "comparisons = 3 must be of the kind of"),
        ("methods: [base, a]\nanalysis: {comparisons: [{method: a, against: base, kind: better}]}",
         "kind 'better' is not known; known are superior, not worse"),
        ("methods: [base, a]\nanalysis: {comparisons: [{method: a, against: base, margin: 5}]}",
         "a margin above 0 belongs to kind 'not worse'"),
        ("methods: [base, a]\nanalysis: {comparisons: [{method: a, against: base, kind: not worse}]}",
         "a margin above 0 belongs to kind 'not worse'"),
        ("methods: [base, a]\nanalysis: {comparisons: [{method: a, against: base, starts: shifted}]}",
         "shifted method 'a' is not known; known are base"),
        ("methods: [base, a]\nanalysis: {comparisons: [{method: a, against: base, starts: best}]}",
         "starts 'best' is not known; known are held_out, shifted"),
        ("tasks: [libero_goal/8, libero_goal/08]", "names a task twice"),
        ("name: a\nname: b", "is not YAML: key 'name' twice"),
        ("seeds: [-1]", r"seeds = \[-1\] must be 0 or more"),
        ("held_out: {jitter_cm: 0, first: 40, last: 49, count: 11}", "with jitter_cm = 0 its 10 official states"),
        ("held_out: {last: 90}", "held_out goes to state 90: LIBERO's last is 49"),
        ("held_out: {seed: -5}", "held_out: seed = -5 must be 0 or more"),
        ("shifted: {jitter_cm: -6}", "a jitter_cm is below 0"),
        ("analysis: {alpha: 5}", "analysis: alpha = 5 is no level of a test"),
        ("analysis: {alpha: 0.0}", "analysis: alpha = 0 is no level of a test"),
        ("analysis: {cosine_ranks_from: 7}", "cosine_ranks_from is a correlation"),
        ("methods: [base, a]\nanalysis: {comparisons: [{method: a, against: base, alpha: -0.05}]}",
         "comparison of 'a' with 'base': alpha = -0.05 is no level"),
        ("methods: [base, a]\nanalysis: {comparisons: [{method: a, against: base, at_least: -3}]}",
         "at_least = -3 must be 0 to 100 points"),
        ("tasks: [libero_goal@ur5e/8]", "simulated under libero_panda or libero_panda_joints, not under 'ur5e'"),
        ("tasks: [libero_goal/8, libero_goal@libero_panda_joints/8]", "commanded otherwise: give each a plan"),
        ("tasks: [libero_goal@libero_panda_joints/8]\nmethods: [base, pixels]", "pixels is not for libero_panda_j"),
        ("- 1", r"mine\.yaml = \[1\] must be a mapping"),
        ("analysis: 3", "analysis = 3 must be a mapping"),
    ],
)  # fmt: skip
def test_a_plan_that_is_wrong_is_refused_in_one_sentence(tmp_path, text, message):
    with pytest.raises(World2ActError, match=message) as refused:
        plan_of(tmp_path, text)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_plan_names_methods_that_there_are(path):
    assert set(read_plan(path).methods) <= set(METHODS)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_no_start_of_a_shipped_plan_is_trained_on(path):
    plan = read_plan(path)
    for cell in plan.cells:
        recipe = plan.cell_recipe(cell)
        trained = {start.index for split in recipe.learned_from.values() for start in recipe.starts(split)}
        tried = {start.index for starts in plan.starts(cell, plan.methods[0]).values() for start in starts}
        assert trained and tried and not trained & tried


def test_a_plan_is_committed_only_as_git_holds_it(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("name: a\n")
    assert not is_committed(plan), "outside a repository"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert not is_committed(plan), "not added"
    subprocess.run([*git, "add", "plan.yaml"], check=True)
    assert not is_committed(plan), "not committed"
    subprocess.run([*git, "commit", "-qm", "plan"], check=True)
    assert is_committed(plan)
    plan.write_text("name: b\n")
    assert not is_committed(plan), "changed since"


@pytest.mark.parametrize("way", [["--report-only"], ["--collect", "kept"]])
@pytest.mark.parametrize("option", [["--methods", "base"], ["--only", "libero_goal/8/0"], ["--processes", "2"]])
def test_options_of_a_run_mean_nothing_where_nothing_is_run(way, option, capsys):
    assert main(["study", "plan.yaml", *way, *option]) == USAGE_ERROR
    said = capsys.readouterr().err.replace("\n", " ")
    assert f"{option[0]} is about what is run, and {way[0]} runs nothing: leave it out" in said
