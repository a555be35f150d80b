"""The same starts through the full ROS 2 graph: does the policy do there what it did in process?"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes.reader import BagReport, iterate_episodes
from world2act_core.errors import World2ActError
from world2act_core.evaluation import Trial
from world2act_core.evaluation.conduct import states_digest
from world2act_core.policies.address import open_policy
from world2act_core.recipes.deployment import BAG, LIMIT_S, LOG, OUTCOMES, drive_sim_arm
from world2act_core.recipes.regression.checks import Check
from world2act_core.types import Episode

GRAPH = "graph"
"""Folder of an entry's last graph: its bag, outcomes and log."""


def graph_check(policy: str, trials: Sequence[Trial], embodiment: str, out: Path, *, draws: bool) -> Check:
    """Drive the simulated arm over ROS 2 from the starts of some trials, and compare.

    Args:
        policy: address; opened anew by the graph's policy node.
        trials: in process.
        out: gets the folder ``GRAPH``.
        draws: the policy draws at random, so only outcomes can be compared; as where the contract's joint targets are
            followed, which nobody does in process.
    """
    folder = out / GRAPH
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    contract = load_embodiment(embodiment)
    starts = [trial.start_id for trial in trials]
    arguments = {
        "policy": policy,
        "robot": embodiment,
        "task": starts[0].rpartition("/")[0],
        "cameras": ",".join(looked_through(policy, contract)),
    }
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as attempt:
            limit_s = LIMIT_S * (1 + len(starts) / 2)
            drive_sim_arm(arguments, starts, Path(attempt), folder / LOG, limit_s, slow_end=True)
            for name in (BAG, OUTCOMES):
                (Path(attempt) / name).replace(folder / name)
        live = {episode.start_id: episode for episode in _episodes(folder / BAG, contract)}
    except World2ActError as failure:
        return Check("graph", False, f"the graph did not carry out the starts: {failure}", {"starts": starts})
    return agreement(trials, live, draws=draws or contract.limits.follow)


def agreement(trials: Sequence[Trial], live: Mapping[str, Episode], *, draws: bool) -> Check:
    """Compare trials in process with the episodes that the graph recorded, by start."""
    found = [(trial.start_id, _difference(trial, live.get(trial.start_id), draws)) for trial in trials]
    differences = [f"{start}: {difference}" for start, difference in found if difference]
    figures = {"starts": [trial.start_id for trial in trials], "differences": differences, "states": not draws}
    if differences:
        message = f"{len(differences)} of {len(trials)} starts end otherwise over ROS 2: {'; '.join(differences)}"
        return Check("graph", False, message, figures)
    compared = "outcomes" if draws else "outcomes, steps and states to the bit"
    return Check("graph", True, f"{len(trials)} starts over ROS 2 as in process: {compared}", figures)


def _difference(trial: Trial, episode: Episode | None, draws: bool) -> str:
    """How an episode of the graph differs from the trial in process, or ""."""
    if episode is None:
        return "there is no whole episode in the graph's bag"
    words = {True: "solved", False: "not solved", None: "cancelled"}
    if episode.success != trial.success:
        return f"{words[episode.success]} over the graph, {words[trial.success]} in process"
    if draws:
        return ""
    if episode.steps != trial.steps:
        return f"{episode.steps} steps over the graph, {trial.steps} in process"
    if trial.conduct is None:
        return "its states in process were not kept: evaluate into another folder"
    alike = states_digest(episode.state) == trial.conduct.states
    return "" if alike else f"alike in outcome and steps ({trial.steps}), but the arm's states differ"


def _episodes(bag: Path, contract: Embodiment) -> list[Episode]:
    report = BagReport()
    episodes = list(iterate_episodes(bag, contract, cameras=(), report=report))
    if report.damage is not None:
        raise report.damage
    return episodes


def looked_through(policy: str, contract: Embodiment) -> tuple[str, ...]:
    """The cameras that a policy wants; the first there is for a blind one, because the graph renders all if none is
    named."""
    opened = open_policy(policy, contract)
    cameras = tuple(opened.cameras)
    opened.close()
    return cameras or tuple(contract.cameras)[:1]
