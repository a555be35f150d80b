"""Pairing of trials, the proof that starts were held out, and results on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from world2act_core.errors import RunError
from world2act_core.evaluation.results import Results, read_results, summary, write_results
from world2act_core.evaluation.trials import PairedTrials, Trial, held_out_or_raise, pair_trials


def trials(policy: str, outcomes: str) -> list[Trial]:
    """``"1011"`` → four trials on starts s0..s3."""
    return [Trial(f"s{i}", policy, outcome == "1", 60 + i, 1.5) for i, outcome in enumerate(outcomes)]


@pytest.fixture
def paired() -> PairedTrials:
    return pair_trials(trials("base", "1100000001"), trials("post-trained", "1011111101"))


def test_outcomes_are_counted_by_cell(paired: PairedTrials) -> None:
    cells = {cell: paired.count(cell) for cell in ("both", "only base", "only post-trained", "neither")}
    assert cells == {"both": 2, "only base": 1, "only post-trained": 6, "neither": 1}
    assert (paired.base_successes, paired.post_successes, paired.n) == (3, 8, 10)
    assert paired.difference == pytest.approx(0.5)


def test_pairing_goes_by_start_not_by_position() -> None:
    base, post = trials("base", "1100"), trials("post-trained", "1010")
    assert pair_trials(base, reversed(post)) == pair_trials(base, post)


def test_a_start_tried_by_one_policy_only_is_refused() -> None:
    with pytest.raises(RunError, match=r"s3 was tried by the base policy but not by the post-trained"):
        pair_trials(trials("base", "1111"), trials("post-trained", "111"))
    with pytest.raises(RunError, match=r"s2 and 1 more was tried by the post-trained policy but not by the base"):
        pair_trials(trials("base", "11"), trials("post-trained", "1111"))


def test_a_repeated_start_is_refused() -> None:
    base = trials("base", "11")
    with pytest.raises(RunError, match="s1 was tried 2 times by the base"):
        pair_trials([*base, base[1]], trials("post-trained", "11"))


def test_two_policies_on_one_side_are_refused() -> None:
    with pytest.raises(RunError, match="mixes trials of base and other"):
        pair_trials([*trials("base", "1"), Trial("s1", "other", True, 60, 1.0)], trials("post-trained", "11"))


def test_no_trials_are_refused() -> None:
    with pytest.raises(RunError, match="no trial of the base policy"):
        pair_trials([], [])


def test_misaligned_sides_are_refused_even_without_pair_trials() -> None:
    base, post = trials("base", "10"), trials("post-trained", "10")
    with pytest.raises(RunError, match="different starts"):
        PairedTrials(tuple(base), (post[1], post[0]))


def test_disjoint_starts_pass() -> None:
    held_out_or_raise(["libero_goal/8/i40"], {"base policy": ["libero_goal/8/i0"], "stage 1": []})


@pytest.mark.parametrize("spelling", ["libero_goal/8/i12+3cm#7", "libero_goal/8/i12+3.0cm#7"])
def test_a_leak_names_stage_and_start(spelling: str) -> None:
    used = {"base policy": {"libero_goal/8/i1"}, "world model": {spelling}}
    with pytest.raises(RunError, match=r"libero_goal/8/i12\+3cm#7 of the evaluation was used by stage world model"):
        held_out_or_raise(["libero_goal/8/i40", "libero_goal/8/i12+3cm#7"], used)


def test_the_same_initial_state_with_another_displacement_is_another_start() -> None:
    held_out_or_raise(["libero_goal/8/i12+3cm#7"], {"base policy": ["libero_goal/8/i12+3cm#8", "libero_goal/8/i12"]})


def test_starts_of_a_real_table_are_compared_as_written() -> None:
    with pytest.raises(RunError, match="table A mark 3"):
        held_out_or_raise(["table A mark 3"], {"base policy": ["table A mark 3"]})


def test_an_episode_without_start_proves_nothing() -> None:
    with pytest.raises(RunError, match="stage base policy used an episode without a start id"):
        held_out_or_raise(["libero_goal/8/i40"], {"base policy": ["libero_goal/8/i0", ""]})


def test_no_manifest_proves_nothing() -> None:
    with pytest.raises(RunError, match="cannot be proven held out"):
        held_out_or_raise(["libero_goal/8/i40"], {})


def test_results_survive_the_round_trip(tmp_path: Path, paired: PairedTrials) -> None:
    results = Results(
        paired, "put the bowl on the plate", "libero_panda", commit="abc", training_starts={"base policy": 10}
    )
    write_results(tmp_path / "results.json", results)
    assert read_results(tmp_path / "results.json") == results
    assert results.versions["python"]


def test_results_state_the_statistics(tmp_path: Path, paired: PairedTrials) -> None:
    write_results(tmp_path / "results.json", Results(paired, "task", "libero_panda"))
    raw = json.loads((tmp_path / "results.json").read_text())
    assert raw["schema"] == "world2act.evaluation/1"
    assert raw["summary"] == summary(paired)
    assert raw["summary"]["verdict"] == "no difference"
    assert raw["summary"]["exact_mcnemar_p"] == pytest.approx(2 * 8 / 128)
    assert len(raw["trials"]["base"]) == len(raw["trials"]["post_trained"]) == 10


def test_the_same_results_give_the_same_bytes(tmp_path: Path, paired: PairedTrials) -> None:
    for name in ("a.json", "b.json"):
        write_results(tmp_path / name, Results(paired, "task", "libero_panda"))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_edited_results_are_refused(tmp_path: Path, paired: PairedTrials) -> None:
    path = tmp_path / "results.json"
    write_results(path, Results(paired, "task", "libero_panda"))
    raw = json.loads(path.read_text())
    raw["summary"]["verdict"] = "better"
    path.write_text(json.dumps(raw))
    with pytest.raises(RunError, match="does not follow from its trials"):
        read_results(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ('{"schema": "world2act.evaluation/9"}', "has schema 'world2act.evaluation/9'"),
        ('{"schema": "world2act.evaluation/1"}', "is incomplete"),
    ],
)
def test_unreadable_results_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(RunError, match=message):
        read_results(path)


def test_missing_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        read_results(tmp_path / "results.json")
