"""A gate's signature: what ``require_gate`` lets through, and the one sentence for everything that it does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from world2act_core.errors import RunError
from world2act_core.evaluation.console import gate_table
from world2act_core.evaluation.gate import Gate
from world2act_core.evaluation.signature import KEY_VARIABLE, read_gate, require_gate, write_gate
from world2act_core.evaluation.trials import Trial, pair_trials
from world2act_core.policies.run_folder import policy_files
from world2act_core.runs import file_digest


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name, file in policy_files(tmp_path).items():
        file.parent.mkdir()
        file.write_text(name)
    return tmp_path


def a_gate(run: Path, base: str = "001000001", post: str = "111111011", **changes: Any) -> Gate:
    def side(policy: str, outcomes: str) -> list[Trial]:
        return [Trial(f"libero_goal/8/i{i}", policy, outcome == "1", 60, 1.5) for i, outcome in enumerate(outcomes)]

    settings: dict[str, Any] = {
        "max_starts": 60,
        "margin": 0.0,
        "alpha": 0.05,
        "task": "libero_goal/8",
        "embodiment": "libero_panda",
        "digests": {name: file_digest(file) for name, file in policy_files(run).items()},
        "finished": datetime.now(timezone.utc),
        "used_starts": {"demonstrations": 35},
    }
    return Gate(pair_trials(side("base", base), side("post-trained", post)), **{**settings, **changes})


def edit(run: Path, change: Callable[[dict[str, Any]], None], *, reseal: bool = False) -> None:
    path = run / "gate.json"
    raw = json.loads(path.read_text())
    change(raw)
    if reseal:
        content = {key: value for key, value in raw.items() if key != "signature"}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        raw["signature"]["sha256"] = hashlib.sha256(canonical).hexdigest()
    path.write_text(json.dumps(raw))


def test_a_passed_gate_survives_the_round_trip_and_lets_through(run: Path) -> None:
    gate = a_gate(run, base="00100000", post="11111101")
    assert "only sealed" in write_gate(run, gate)
    assert read_gate(run) == gate
    assert require_gate(run, embodiment="libero_panda", max_age_days=1) == gate


def test_it_tells_everything_that_it_found(run: Path) -> None:
    gate = a_gate(run, base="00100000", post="11111101")
    write_gate(run, gate)
    raw = json.loads((run / "gate.json").read_text())
    assert raw["counts"] == {"starts": 8, "both": 1, "only_base": 0, "only_post_trained": 6, "neither": 1}
    assert (raw["verdict"], raw["passed"], raw["mode"], raw["margin"]) == ("shown", True, "superiority", 0.0)
    assert raw["wealth"] == gate.test.wealth and raw["wealth"][-1] >= raw["wealth_needed"] == 20
    assert raw["confidence"] == pytest.approx(0.9) and raw["confidence_sequence"][0] > 0
    assert raw["starts"] == [f"libero_goal/8/i{i}" for i in range(8)]
    assert raw["digests"]["residual"] == hashlib.sha256(b"residual").hexdigest()
    assert {"python", "numpy"} <= set(raw["versions"])


def test_a_key_signs_and_is_not_written_down(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "open sesame")
    said = write_gate(run, a_gate(run, base="00100000", post="11111101"))
    assert "HMAC-SHA256" in said and "sesame" not in said + (run / "gate.json").read_text()
    assert require_gate(run).passed


def test_without_a_gate_nothing_is_let_through(run: Path) -> None:
    with pytest.raises(RunError, match=r"has no gate\.json.*run 'world2act gate"):
        require_gate(run)


def test_a_failed_gate_is_not_a_pass(run: Path) -> None:
    write_gate(run, a_gate(run, base="11111111", post="00100101"))
    with pytest.raises(RunError, match="was not passed, so its policy must not act: it is not shown|is worse"):
        require_gate(run)


@pytest.mark.parametrize("name", ["base", "residual"])
def test_other_files_are_not_vouched_for(run: Path, name: str) -> None:
    write_gate(run, a_gate(run, base="00100000", post="11111101"))
    policy_files(run)[name].write_text("retrained")
    with pytest.raises(RunError, match=f"was passed with another {name} policy"):
        require_gate(run)
    policy_files(run)[name].unlink()
    with pytest.raises(RunError, match="does not exist"):
        require_gate(run)


def test_another_robot_is_not_vouched_for(run: Path) -> None:
    write_gate(run, a_gate(run, base="00100000", post="11111101"))
    with pytest.raises(RunError, match="was passed on libero_panda, not on franka_fr3"):
        require_gate(run, embodiment="franka_fr3")


@pytest.mark.parametrize("used", [{}, {"demonstrations": 0, "logged": 0, "stage2": 0}])
def test_a_gate_that_knew_no_start_of_the_training_vouches_for_nothing(run: Path, used: dict[str, int]) -> None:
    """Runs made from logs once had such gates, on a task that the logs were never about."""
    write_gate(run, a_gate(run, base="00100000", post="11111101", used_starts=used))
    with pytest.raises(RunError, match="knew of no start that its policy was trained on"):
        require_gate(run)


def test_an_old_gate_is_refused_where_age_matters(run: Path) -> None:
    old = datetime.now(timezone.utc) - timedelta(days=8)
    write_gate(run, a_gate(run, base="00100000", post="11111101", finished=old))
    assert require_gate(run).passed
    with pytest.raises(RunError, match=r"is 8\.0 days old, more than 7: "):
        require_gate(run, max_age_days=7)


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.update(verdict="shown", passed=True),
        lambda raw: raw["trials"]["post_trained"][3].update(success=True),
        lambda raw: raw.update(embodiment="franka_fr3"),
        lambda raw: raw.pop("signature"),
        lambda raw: raw.update(added=1),
    ],
)
def test_any_edit_breaks_the_seal(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    write_gate(run, a_gate(run, base="11111111", post="00100101"))
    edit(run, change)
    with pytest.raises(RunError, match="was edited after it was signed"):
        require_gate(run)


def test_a_resealed_verdict_still_contradicts_its_trials(run: Path) -> None:
    write_gate(run, a_gate(run, base="11111111", post="00100101"))
    edit(run, lambda raw: raw.update(verdict="shown"), reseal=True)
    with pytest.raises(RunError, match="contradicts itself"):
        require_gate(run)


def test_a_pass_of_two_policies_that_solved_nothing_is_none(run: Path) -> None:
    """Such gates were passed and signed once."""
    write_gate(run, a_gate(run, base="0" * 86, post="0" * 86, margin=0.05, max_starts=300))
    raw = json.loads((run / "gate.json").read_text())
    assert (raw["verdict"], raw["passed"]) == ("not shown", False)
    edit(run, lambda raw: raw.update(verdict="shown", passed=True), reseal=True)
    with pytest.raises(RunError, match="contradicts itself"):
        require_gate(run)


def test_what_can_be_resealed_without_the_key_cannot_with_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "open sesame")
    write_gate(run, a_gate(run, base="00100000", post="11111101"))
    edit(run, lambda raw: raw.update(embodiment="franka_fr3"), reseal=True)
    with pytest.raises(RunError, match=f"was signed with another key than {KEY_VARIABLE} holds"):
        require_gate(run)


@pytest.mark.parametrize(
    ("signing", "checking", "says"),
    [
        ("one", "two", "was signed with another key"),
        ("one", "", f"was signed with a key: set {KEY_VARIABLE}"),
        ("", "two", f"was signed without a key, but {KEY_VARIABLE} is set"),
    ],
)
def test_the_key_must_be_the_same(
    run: Path, monkeypatch: pytest.MonkeyPatch, signing: str, checking: str, says: str
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, signing)
    write_gate(run, a_gate(run, base="00100000", post="11111101"))
    monkeypatch.setenv(KEY_VARIABLE, checking)
    with pytest.raises(RunError, match=says):
        require_gate(run)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "has schema None"),
        ('{"schema": "world2act.gate/9"}', "has schema 'world2act.gate/9'"),
    ],
)
def test_unreadable_gates_are_refused(run: Path, content: str, says: str) -> None:
    (run / "gate.json").write_text(content)
    with pytest.raises(RunError, match=says):
        require_gate(run)


@pytest.mark.parametrize(
    ("asked", "outcomes", "says"),
    [
        ({"margin": 0.9}, ("11100", "10000"), "asked for too little, a margin of 90 points at alpha 0.05"),
        ({"alpha": 0.49}, ("00", "11"), "asked for too little, a margin of 0 points at alpha 0.49"),
    ],
)
def test_a_gate_that_asked_for_hardly_anything_lets_nobody_act(
    run: Path, asked: dict[str, float], outcomes: tuple[str, str], says: str
) -> None:
    base, post = outcomes
    gate = a_gate(run, base=base, post=post, **asked)
    assert gate.passed
    write_gate(run, gate)
    with pytest.raises(RunError, match=says):
        require_gate(run)


def test_the_whole_table(run: Path) -> None:
    assert gate_table(a_gate(run, base="00100000", post="11111101")).splitlines() == [
        "libero_goal/8: 8 of at most 60 fresh starts, held out from training",
        "---------------------------------------------------",
        "policy        successes      rate     90 % interval",
        "---------------------------------------------------",
        "base                1/8    12.5 %",
        "post-trained        7/8    87.5 %",
        "---------------------------------------------------",
        "difference           +6  +75.0 pt  +0.5 to +98.7 pt",
        "---------------------------------------------------",
        "6 starts gained, 0 lost, 2 alike; wealth 20.7, 20 needed (alpha 0.05)",
        "Verdict: PASS, the post-trained policy is better than the base policy",
    ]


@pytest.mark.parametrize(
    ("base", "post", "changes", "words"),
    [
        ("1" * 6, "0" * 6, {}, "FAIL, the post-trained policy is worse than the base policy"),
        ("1" * 7, "0" * 7, {"margin": 0.05},
         "FAIL, the post-trained policy is worse than the base policy by more than 5 points"),
        ("1" * 86, "1" * 86, {"margin": 0.05, "max_starts": 300},
         "PASS, the post-trained policy is not worse than the base policy by 5 points or more"),
        ("0" * 86, "0" * 86, {"margin": 0.05, "max_starts": 300},
         "FAIL, it is not shown that the post-trained policy is not worse than the base policy by 5 points or more; "
         "neither policy solved a start, so there was nothing to lose"),
        ("0" * 4, "0" * 4, {"max_starts": 9},
         "FAIL, it is not shown that the post-trained policy is better than the base policy; "
         "not even gains on all 5 starts left could show it"),
        ("01" * 4, "10" * 4, {"max_starts": 8},
         "FAIL, it is not shown that the post-trained policy is better than the base policy; all starts are used"),
    ],
)  # fmt: skip
def test_the_verdict_in_words(run: Path, base: str, post: str, changes: dict[str, Any], words: str) -> None:
    assert gate_table(a_gate(run, base, post, **changes)).splitlines()[-1] == f"Verdict: {words}"
