"""Options of the suite, its matrix, and what is written when it is over. ``README.md`` says what each check means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from world2act_core.errors import World2ActError
from world2act_core.recipes.regression import (
    REPORT,
    VERDICT,
    Checked,
    Entry,
    Regression,
    SafetyLimits,
    check_entry,
    conclude,
    lines,
    planned_entries,
)
from world2act_core.simulators.workers import WorkerPool

OUT = Path("runs/sim_tests")
USAGE = (
    "sim_tests need a policy and a suite: pytest sim_tests --policy ADDRESS --suite libero_goal [--tasks 8] "
    "[--against evaluation.json]"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    asked = parser.getgroup("sim_tests", "World2Act: the regression that a policy passes before an arm moves")
    add = asked.addoption
    add("--policy", metavar="ADDRESS", help="the policy, e.g. run:runs/demo or onnx:exports/demo")
    add("--suite", action="append", default=[], metavar="NAME", help="e.g. libero_goal; more than once for several")
    add("--tasks", default="", metavar="N,N", help="of every suite, from 0 (default all)")
    add("--episodes", type=int, default=20, metavar="N", help="most starts a task (default 20)")
    add(
        "--against", action="append", default=[], type=Path, metavar="JSON",
        help="baseline: evaluation.json, or a folder with some; more than once for several",
    )  # fmt: skip
    add(
        "--non-inferior", type=float, metavar="MARGIN",
        help="demand that it is shown to lose less than MARGIN points (default: fail only if it is shown to lose)",
    )  # fmt: skip
    add("--alpha", type=float, default=0.05, help="most that a false verdict may happen, a task (default 0.05)")
    add("--max-limit-hits", type=int, metavar="N", help="of the safety filter, a task (default the baseline's; else 0)")
    add("--max-holds", type=int, metavar="N", help="held control steps, a task (default the baseline's; else 0)")
    add("--max-jerk", type=float, metavar="J", help="largest jerk, m/s^3 or rad/s^3 (default the baseline's)")
    add("--max-latency-ms", type=float, metavar="MS", help="99th percentile of a chunk's time (default: only reported)")
    add("--ros", action="store_true", help="the first starts through the full ROS 2 graph too")
    add("--ros-episodes", type=int, default=2, metavar="N", help="how many of them, a task (default 2)")
    add("--draws", action="store_true", help="the policy draws at random: with --ros compare outcomes, not states")
    add("--workers", type=int, default=2, metavar="W", help="simulators at a time (default 2)")
    add("--out", type=Path, default=OUT, metavar="FOLDER", help=f"of trials, failures and report (default {OUT})")


def asked(config: pytest.Config) -> Regression:
    """The question that the options ask.

    Raises:
        pytest.UsageError: there is no policy or suite, or a number is none.
    """
    option = config.getoption
    if not option("policy") or not option("suite"):
        raise pytest.UsageError(USAGE)
    try:
        tasks = tuple(dict.fromkeys(int(part) for part in option("tasks").split(",") if part.strip()))
    except ValueError:
        raise pytest.UsageError(f"--tasks {option('tasks')} are not numbers, for example --tasks 0,8") from None
    margin = option("non_inferior")
    limits = SafetyLimits(option("max_limit_hits"), option("max_holds"), jerk_max=option("max_jerk"))
    return Regression(
        policy=option("policy"),
        suites=tuple(option("suite")),
        tasks=tasks,
        episodes=option("episodes"),
        against=tuple(option("against")),
        non_inferior=None if margin is None else margin / 100,
        alpha=option("alpha"),
        limits=limits,
        max_latency_ms=option("max_latency_ms"),
        graph_episodes=option("ros_episodes") if option("ros") else 0,
        draws=option("draws"),
    )


QUESTION = pytest.StashKey[Regression]()
ENTRIES = pytest.StashKey[list[Entry]]()
CHECKED = pytest.StashKey[dict[str, Checked]]()
BROKEN = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Whatever cannot be asked is refused here, in one sentence and before a simulator starts."""
    if config.getoption("help") or not hasattr(config.option, "policy"):
        return
    question = asked(config)
    try:
        entries = planned_entries(question)
    except World2ActError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[QUESTION], config.stash[ENTRIES] = question, entries
    config.stash[CHECKED], config.stash[BROKEN] = {}, {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The matrix: one entry a task of a suite, all its checks one after the other."""
    stash = metafunc.config.stash
    if ENTRIES not in stash:  # pytest reads these options only if this folder is named on its command line
        raise pytest.UsageError(USAGE)
    if "entry" in metafunc.fixturenames:
        entries = stash[ENTRIES]
        metafunc.parametrize("entry", entries, ids=[entry.id for entry in entries], scope="session")


@pytest.fixture(scope="session")
def pool(pytestconfig: pytest.Config) -> Iterator[WorkerPool]:
    with WorkerPool(pytestconfig.getoption("workers")) as workers:
        yield workers


@pytest.fixture(scope="session")
def checked(pytestconfig: pytest.Config, entry: Entry, pool: WorkerPool) -> Checked:
    """The entry's trials and checks; they run for the first test that asks."""
    stash = pytestconfig.stash
    if entry.id in stash[BROKEN]:
        pytest.fail(stash[BROKEN][entry.id], pytrace=False)
    if entry.id not in stash[CHECKED]:
        try:
            stash[CHECKED][entry.id] = check_entry(stash[QUESTION], entry, pytestconfig.getoption("out"), pool)
        except World2ActError as error:
            stash[BROKEN][entry.id] = f"{entry.id}: {error}"
            pytest.fail(stash[BROKEN][entry.id], pytrace=False)
    return stash[CHECKED][entry.id]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What every check found, passed or not; verdict and report, if anything was tried."""
    checked, broken = config.stash.get(CHECKED, {}), config.stash.get(BROKEN, {})
    if not checked and not broken:
        return
    out: Path = config.getoption("out")
    passed = conclude(config.stash[QUESTION], list(checked.values()), out, list(broken.values()))
    terminalreporter.section("sim_tests")
    for one in checked.values():
        for line in lines(one):
            terminalreporter.write_line(line)
    for text in broken.values():
        terminalreporter.write_line(f"FAIL  {text}")
    terminalreporter.write_line(f"verdict: {'PASS' if passed else 'FAIL'}, {out / VERDICT}; report: {out / REPORT}")
