"""Deployment: the ROS 2 graph drives the simulated arm with the post-trained policy and records its own bag."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from world2act_core.errors import RunError
from world2act_core.recipes.settings import Recipe
from world2act_core.runs import Stage

OUTCOMES, BAG, LOG = "outcomes.jsonl", "bag", "graph.log"
LIMIT_S = 600
SLOW_END = 128 + signal.SIGTERM
"""How ``world2act up`` ends if a node had to be told twice."""


def deployment_stage(stage: Stage, recipe: Recipe, run_folder: Path) -> None:
    """Start ``world2act up sim_arm`` on the run and let it carry out the first held-out starts.

    The graph runs in a ROS domain of its own. It is one attempt: after a kill it starts again from the first episode.

    Raises:
        RunError: the graph failed; names its log.
    """
    starts = [start.id for start in recipe.starts(recipe.evaluation)[: recipe.deployment_episodes]]
    # Folder and domain of its own: the graph of a killed demo may need some seconds to end.
    attempt = Path(tempfile.mkdtemp(dir=stage.scratch))
    arguments = {
        "run": str(run_folder),
        "robot": recipe.embodiment,
        "task": f"{recipe.suite}/{recipe.task}",
        "cameras": ",".join(recipe.cameras),
        "source": "post-trained",
    }
    outcomes = drive_sim_arm(arguments, starts, attempt, stage.path(LOG))
    for name in (BAG, OUTCOMES):
        shutil.rmtree(stage.path(name), ignore_errors=True)
        os.replace(attempt / name, stage.path(name))
    stage.starts = starts
    stage.metrics = {"episodes": len(outcomes), "successes": sum(entry["outcome"] == "success" for entry in outcomes)}


def drive_sim_arm(
    arguments: Mapping[str, str],
    starts: Sequence[str],
    folder: Path,
    log: Path,
    limit_s: float = LIMIT_S,
    *,
    slow_end: bool = False,
) -> list[dict[str, object]]:
    """Let the graph ``sim_arm``, its nodes as processes, carry out starts; what it says is recorded.

    Args:
        arguments: of the graph, by name.
        folder: gets ``BAG`` and ``OUTCOMES``; holds neither yet.
        log: file for what the nodes print.
        limit_s: the graph is ended after so long.
        slow_end: a node that is too slow to end once all is done, as on a busy machine, is no failure.

    Returns:
        One entry an episode, as ``run_task`` reported it.

    Raises:
        RunError: the graph failed, or did not end; names its log.
    """
    command = [sys.executable, "-m", "world2act_core.cli", "up", "--with-parent", "sim_arm"]
    values = {**arguments, "starts": ",".join(starts), "record": str(folder / BAG), "results": str(folder / OUTCOMES)}
    command += [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", value)]
    domain = os.environ.get("ROS_DOMAIN_ID") or str(random.randrange(1, 101))
    with log.open("w") as output:
        try:
            code = subprocess.run(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "ROS_DOMAIN_ID": domain},
                timeout=limit_s,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise RunError(f"the ROS 2 graph was not done after {limit_s:g} s: see {log}") from None
    outcomes = _read(folder / OUTCOMES)
    if (code and not (slow_end and code == SLOW_END)) or len(outcomes) != len(starts):
        done = f"{len(outcomes)} of {len(starts)} episodes"
        raise RunError(f"the ROS 2 graph ended with code {code} after {done}: see {log}")
    return outcomes


def read_outcomes(stage: Stage) -> list[dict[str, object]]:
    """One entry an episode, as the graph reported it."""
    return _read(stage.path(OUTCOMES))


def _read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
