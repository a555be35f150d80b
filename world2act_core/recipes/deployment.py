"""Deployment: the ROS 2 graph drives the simulated arm with the post-trained policy and records its own bag."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from world2act_core.errors import RunError
from world2act_core.recipes.settings import Recipe
from world2act_core.runs import Stage

OUTCOMES, BAG, LOG = "outcomes.jsonl", "bag", "graph.log"
LIMIT_S = 600


def deployment_stage(stage: Stage, recipe: Recipe, run_folder: Path) -> None:
    """Start ``world2act up sim_arm`` on the run and let it carry out the first held-out starts.

    The graph runs in a ROS domain of its own. It is one attempt: after a kill it starts again from the first episode.

    Raises:
        RunError: the graph failed; names its log.
    """
    starts = [start.id for start in recipe.starts(recipe.evaluation)[: recipe.deployment_episodes]]
    # Folder and domain of its own: the graph of a killed demo may need some seconds to end.
    attempt = Path(tempfile.mkdtemp(dir=stage.scratch))
    command = [sys.executable, "-m", "world2act_core.cli", "up", "--with-parent", "sim_arm"]
    command += ["--run", str(run_folder), "--robot", recipe.embodiment, "--task", f"{recipe.suite}/{recipe.task}"]
    command += ["--cameras", ",".join(recipe.cameras), "--starts", ",".join(starts), "--source", "post-trained"]
    command += ["--record", str(attempt / BAG), "--results", str(attempt / OUTCOMES)]
    domain = os.environ.get("ROS_DOMAIN_ID") or str(random.randrange(1, 101))
    log = stage.path(LOG)
    with log.open("w") as output:
        try:
            code = subprocess.run(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "ROS_DOMAIN_ID": domain},
                timeout=LIMIT_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise RunError(f"the ROS 2 graph was not done after {LIMIT_S} s: see {log}") from None
    outcomes = _read(attempt / OUTCOMES)
    if code or len(outcomes) != len(starts):
        done = f"{len(outcomes)} of {len(starts)} episodes"
        raise RunError(f"the ROS 2 graph ended with code {code} after {done}: see {log}")
    for name in (BAG, OUTCOMES):
        shutil.rmtree(stage.path(name), ignore_errors=True)
        os.replace(attempt / name, stage.path(name))
    stage.starts = starts
    stage.metrics = {"episodes": len(outcomes), "successes": sum(entry["outcome"] == "success" for entry in outcomes)}


def read_outcomes(stage: Stage) -> list[dict[str, object]]:
    """One entry an episode, as the graph reported it."""
    return _read(stage.path(OUTCOMES))


def _read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
