"""What RoboCasa's package needs before it is imported, and what it knows: task sets, time limits, splits, kitchens."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.simulators.libero_package import only_errors
from world2act_core.simulators.rendering import choose_backend
from world2act_core.simulators.robocasa.assets import DOWNLOAD, assets_folder, kind_of_assets
from world2act_core.simulators.robocasa.compatibility import bridge_robosuite, without_empty_categories
from world2act_core.simulators.robocasa.suites import Suite, Task, parse_suite, tasks_of_set

SETUP = "scripts/setup --robocasa"
DISTRIBUTION = "rpent-robocasa365"
"""RoboCasa's code on PyPI."""
ROBOT, EMBODIMENT = "PandaOmron", "panda_omron"
"""Of RoboCasa, and our contract of it."""
REGISTRIES = ("objaverse", "lightwheel")
"""Where kitchens draw objects from: RoboCasa's own default."""


@dataclass(frozen=True)
class RoboCasa:
    """The imported package.

    Attributes:
        assets: folder of the kitchens.
        kind: what they are, see ``assets.kind_of_assets``.
        bridged: what robosuite lacked, see ``compatibility``.
        groups: group → its object categories, before any was left out.
    """

    assets: Path
    kind: str
    bridged: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]


@cache
def import_robocasa() -> RoboCasa:
    """Import RoboCasa once, with a rendering backend chosen, without its chatter.

    Raises:
        MissingExtraError: it or its assets are not there.
    """
    spec = importlib.util.find_spec("robocasa")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"RoboCasa is not installed in this environment: {SETUP} makes one for it")
    choose_backend()
    folder = assets_folder(Path(spec.submodule_search_locations[0]))
    logging.getLogger("robosuite_logs").addFilter(only_errors)  # its start-up advice is about its own development
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            bridged = bridge_robosuite()
            import robocasa  # noqa: F401  # registers the environments
            from robocasa.models.objects.kitchen_objects import OBJ_GROUPS
    except ImportError as error:
        raise MissingExtraError(
            f"RoboCasa is installed but cannot be imported ({error}): {SETUP} lays it down anew"
        ) from error
    groups = {name: tuple(members) for name, members in OBJ_GROUPS.items()}
    return RoboCasa(folder, kind_of_assets(folder), bridged, groups)


def load_suite(name: str) -> tuple[Suite, tuple[Task, ...]]:
    """A suite and its tasks.

    Raises:
        MissingExtraError, World2ActError: RoboCasa is not there, or has no such suite.
    """
    suite = parse_suite(name)
    import_robocasa()
    from robocasa.utils.dataset_registry import ATOMIC_TASK_DATASETS, COMPOSITE_TASK_DATASETS, TASK_SET_REGISTRY

    horizons = {name: entry["horizon"] for name, entry in {**ATOMIC_TASK_DATASETS, **COMPOSITE_TASK_DATASETS}.items()}
    return suite, tasks_of_set(suite, TASK_SET_REGISTRY, horizons)


def versions() -> dict[str, str]:
    """Versions that an outcome depends on: RoboCasa 1.0.1 raised its time limits by half, for one."""
    return {name: version(name) for name in (DISTRIBUTION, "robosuite", "mujoco")}


def make_environment(suite: Suite, task: Task) -> Any:
    """RoboCasa's environment of a task, without cameras; its model is built by the first reset.

    Raises:
        MissingExtraError: none of the kitchens that it may take place in is among the assets.
        World2ActError: the suite's kitchen is none of the split's.
    """
    import_robocasa()
    from robocasa.models.fixtures import FixtureType
    from robocasa.utils.env_utils import create_env

    options = {"fixture_id": FixtureType[task.fixture]} if task.fixture else {}
    env = create_env(task.environment, robots=ROBOT, split=suite.split, **options)
    env.has_offscreen_renderer = env.use_camera_obs = False  # images are ours, see the simulator
    env.layout_and_style_ids = _kitchens(suite, task, env.layout_and_style_ids)
    return env


def kitchens_there(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those of the kitchens (layout, style) whose descriptions are among the assets."""
    from robocasa.models.scenes.scene_registry import get_layout_path, get_style_path

    layouts = {layout for layout, _ in pairs if Path(get_layout_path(layout)).is_file()}
    styles = {style for _, style in pairs if Path(get_style_path(style)).is_file()}
    return [(layout, style) for layout, style in pairs if layout in layouts and style in styles]


def _kitchens(suite: Suite, task: Task, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    wanted = [pair for pair in pairs if suite.scene in (None, pair)]
    if not wanted:
        raise World2ActError(
            f"{suite.name}: {task.environment} does not take place in layout {suite.scene[0]}, style {suite.scene[1]}"
            if suite.scene
            else f"{suite.name}: {task.environment} takes place in no kitchen"
        )
    if there := kitchens_there(wanted):
        return there
    raise MissingExtraError(
        f"{suite.name}: none of the {len(wanted)} kitchens of {task.environment} is among the assets in "
        f"{import_robocasa().assets}: take a suite of a kitchen that is there, or download all with {DOWNLOAD}"
    )


def use_objects(split: str | None) -> tuple[str, ...]:
    """Let kitchens draw only from object categories that have a model in a split.

    Returns:
        The categories that were left out because nothing of them is there; none with RoboCasa's own assets.
    """
    from robocasa.models.objects.kitchen_objects import OBJ_CATEGORIES, OBJ_GROUPS

    OBJ_GROUPS.update({name: list(members) for name, members in import_robocasa().groups.items()})
    return without_empty_categories(OBJ_CATEGORIES, OBJ_GROUPS, REGISTRIES, "" if split in (None, "all") else split)


def facts() -> dict[str, Any]:
    """What outcomes in RoboCasa depend on, whatever the suite; JSON values."""
    package = import_robocasa()
    return {"robocasa": version(DISTRIBUTION), "assets": package.kind, "bridged": list(package.bridged)}
