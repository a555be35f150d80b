"""The table at the end of an evaluation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from world2act_core.evaluation.console import result_table
from world2act_core.evaluation.trials import PairedTrials, Trial, pair_trials


def paired(base: str, post: str) -> PairedTrials:
    def side(policy: str, outcomes: str) -> list[Trial]:
        return [Trial(f"s{i}", policy, outcome == "1", 60, 1.5) for i, outcome in enumerate(outcomes)]

    return pair_trials(side("base", base), side("post-trained", post))


def test_the_whole_table() -> None:
    table = result_table(paired("1" * 6 + "0" * 34, "1" * 32 + "0" * 8), task="put the bowl on the plate")
    assert table.splitlines() == [
        "put the bowl on the plate: 40 starts held out from training",
        "----------------------------------------------------",
        "policy        successes      rate      95 % interval",
        "----------------------------------------------------",
        "base               6/40    15.0 %      7.1 to 29.1 %",
        "post-trained      32/40    80.0 %     65.2 to 89.5 %",
        "----------------------------------------------------",
        "difference          +26  +65.0 pt  +45.9 to +76.6 pt",
        "----------------------------------------------------",
        "26 starts gained, 0 lost, 14 alike; exact paired test p = 3.0e-08",
        "Verdict: The post-trained policy is better than the base policy.",
    ]


@pytest.mark.parametrize(
    ("base", "post", "words"),
    [
        ("1" * 8, "0" * 8, "Verdict: The post-trained policy is worse than the base policy."),
        ("110", "011", "Verdict: No difference: these trials cannot tell the policies apart."),
        ("1", "1", "Verdict: No difference: both policies succeeded and failed on the same starts."),
    ],
)
def test_the_verdict_in_words(base: str, post: str, words: str) -> None:
    assert result_table(paired(base, post)).splitlines()[-1] == words


@pytest.mark.parametrize(("base", "post"), [("1" * 8, "0" * 8), ("110", "011"), ("1", "1"), ("0", "0")])
def test_any_terminal_can_show_it_and_columns_line_up(base: str, post: str) -> None:
    table = result_table(paired(base, post))
    assert table.isascii()
    rows = [table.splitlines()[i] for i in (2, 4, 5, 7)]
    assert len({len(row) for row in rows}) == 1


def test_trials_whose_simulator_died_are_counted_under_the_table() -> None:
    trials = paired("10", "11")
    again = [replace(trials.base[0], attempts=2), trials.base[1]]
    table = result_table(pair_trials(again, trials.post))
    assert table.splitlines()[-1] == "1 trial was begun twice because its simulator or worker died the first time"
    assert "begun twice" not in result_table(trials)
