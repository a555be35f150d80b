"""What a policy must pass in simulation before an arm moves: one test a check and task. See README.md."""

from __future__ import annotations

import pytest

from world2act_core.recipes.regression import Checked

pytestmark = pytest.mark.timeout(0)  # as long as its episodes take


def demand(checked: Checked, name: str) -> None:
    check = checked.checks[name]
    if not check.passed:
        pytest.fail(f"{checked.entry.id}: {check.message}", pytrace=False)


def test_success(checked: Checked) -> None:
    """The task is solved as often as the baseline solves it, by the sequential paired test."""
    demand(checked, "success")


def test_safety(checked: Checked) -> None:
    """The safety filter would refuse no more than it may, and the commands are no jerkier than they were."""
    demand(checked, "safety")


def test_latency(checked: Checked) -> None:
    """A chunk is there in time; only reported without --max-latency-ms."""
    demand(checked, "latency")


def test_graph(checked: Checked, pytestconfig: pytest.Config) -> None:
    """The same starts through the ROS 2 graph end as they do in process."""
    if not pytestconfig.getoption("ros"):
        pytest.skip("without --ros")
    demand(checked, "graph")
