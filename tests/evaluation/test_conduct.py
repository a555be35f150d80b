"""What is kept of a trial besides its outcome: through JSON and back, and beside trials that have none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from world2act_core.evaluation.conduct import (
    Conduct,
    SafetyCounters,
    conduct_from_json,
    conduct_to_json,
    latency_figures,
    states_digest,
)
from world2act_core.evaluation.results import trial_from_json, trial_to_json
from world2act_core.evaluation.trial_log import TrialLog
from world2act_core.evaluation.trials import Trial

COUNTERS = SafetyCounters(300, {"workspace": 2}, 7, 812.5, 60.25, "m/s^3")
CONDUCT = Conduct(COUNTERS, (12.25, 13.5), "ab12")


@pytest.mark.parametrize("conduct", [CONDUCT, Conduct()])
def test_it_survives_json(conduct: Conduct) -> None:
    assert conduct_from_json(json.loads(json.dumps(conduct_to_json(conduct)))) == conduct


def test_trials_with_and_without_it_share_a_log(tmp_path: Path) -> None:
    plain, told = Trial("s/0/i0", "policy", True, 8, 1.0), Trial("s/0/i1", "policy", False, 8, 1.0, CONDUCT)
    assert "conduct" not in trial_to_json(plain), "files of those who keep none read as ever"
    with TrialLog(tmp_path / "trials.jsonl", {}) as log:
        for trial in (plain, told):
            log.append(trial)
    with TrialLog(tmp_path / "trials.jsonl", {}) as log:
        assert list(log.trials.values()) == [plain, told]


def test_a_damaged_one_is_a_damaged_trial() -> None:
    raw = json.loads(json.dumps(trial_to_json(Trial("s/0/i1", "policy", False, 8, 1.0, CONDUCT))))
    del raw["conduct"]["safety"]["holds"]
    with pytest.raises(TypeError, match="holds"):
        trial_from_json(raw)


def test_latency_is_told_with_its_deadline() -> None:
    figures = latency_figures([10.0] * 99 + [500.0], 200.0)
    assert (figures["chunks"], figures["p50_ms"], figures["max_ms"], figures["deadline_ms"]) == (
        100,
        10.0,
        500.0,
        200.0,
    )
    assert figures["p99_ms"] == pytest.approx(14.9) and figures["within"]
    assert not latency_figures([250.0], 200.0)["within"]
    assert latency_figures([], 200.0) == {"chunks": 0, "deadline_ms": 200.0}


def test_the_digest_knows_every_bit_and_every_name() -> None:
    state = {"a": np.zeros((3, 2), np.float32), "b": np.ones((3, 1), np.float32)}
    same = states_digest({"b": state["b"].copy(), "a": state["a"].copy()})
    assert states_digest(state) == same
    nudged = {**state, "a": np.nextafter(state["a"], np.float32(1))}
    assert states_digest(nudged) != same and states_digest({"a": state["a"], "c": state["b"]}) != same
