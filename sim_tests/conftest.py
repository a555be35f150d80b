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
    check_entry,
    conclude,
    forget,
    lines,
    planned_entries,
)
from world2act_core.recipes.regression_options import OPTIONS, regression
from world2act_core.simulators.workers import WorkerPool

USAGE = (
    "sim_tests need a policy and a suite: pytest sim_tests --policy ADDRESS --suite libero_goal [--tasks 8] "
    "[--against evaluation.json]"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sim_tests", "World2Act: the regression that a policy passes before an arm moves")
    for flag, how in OPTIONS.items():
        group.addoption(flag, **how)


QUESTION = pytest.StashKey[Regression]()
ENTRIES = pytest.StashKey[list[Entry]]()
CHECKED = pytest.StashKey[dict[str, Checked]]()
BROKEN = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Whatever cannot be asked is refused here, in one sentence and before a simulator starts."""
    if config.getoption("help") or not hasattr(config.option, "policy"):
        return
    if not config.getoption("policy") or not config.getoption("suite"):
        raise pytest.UsageError(USAGE)
    try:
        question = regression(config.getoption)
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
    forget(pytestconfig.getoption("out"))
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
    if CHECKED not in config.stash:
        return
    checked, broken = config.stash[CHECKED], config.stash[BROKEN].copy()
    if not checked and not broken:
        return
    untried = [entry.id for entry in config.stash[ENTRIES] if entry.id not in checked and entry.id not in broken]
    broken |= {name: f"{name}: was not tried" for name in untried}  # deselected, or interrupted
    out: Path = config.getoption("out")
    passed = conclude(config.stash[QUESTION], list(checked.values()), out, list(broken.values()))
    terminalreporter.section("sim_tests")
    for one in checked.values():
        for line in lines(one):
            terminalreporter.write_line(line)
    for text in broken.values():
        terminalreporter.write_line(f"FAIL  {text}")
    terminalreporter.write_line(f"verdict: {'PASS' if passed else 'FAIL'}, {out / VERDICT}; report: {out / REPORT}")
