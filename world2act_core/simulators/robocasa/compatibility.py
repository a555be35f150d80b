"""RoboCasa 1.0.1 on the robosuite 1.5.2 that PyPI has.

RoboCasa is written against robosuite's main branch, which calls itself 1.5.2 too, so no version tells them apart: each
difference is looked for where it would be, and bridged only if it is there.

==========================  ========================================================================================
RoboCasa calls              bridged by
==========================  ========================================================================================
``load_model_on_init``      the model is built by the first reset
``enable_multiccd``         the same flag in the model; sleeping islands, which RoboCasa switches off, are not known
``JOINT_VELOCITY_LEGACY``   the base's JOINT_VELOCITY; not verified to move it alike, which results say
==========================  ========================================================================================
"""

from __future__ import annotations

import inspect
import logging
import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

LEGACY_BASE, BASE = "JOINT_VELOCITY_LEGACY", "JOINT_VELOCITY"

_BUILDING = ("_load_model", "_initialize_sim", "initialize_renderer", "_reset_internal")
"""What robosuite's constructor does that a reset does again."""

_log = logging.getLogger(__name__)


def bridge_robosuite() -> tuple[str, ...]:
    """Teach the installed robosuite what RoboCasa calls; says so in one line of the log.

    Returns:
        Names of what was missing; empty where nothing is.
    """
    import robosuite
    from robosuite.controllers.parts import controller_factory
    from robosuite.environments.manipulation.manipulation_env import ManipulationEnv
    from robosuite.models.tasks import ManipulationTask

    found = {
        "load_model_on_init": lazy_models(ManipulationEnv),
        "enable_multiccd": task_options(ManipulationTask),
        LEGACY_BASE: legacy_base(controller_factory),
    }
    bridged = tuple(name for name, missing in found.items() if missing)
    if bridged:
        _log.warning(
            "robosuite %s from PyPI lacks %s, which RoboCasa calls: bridged; how the base moves is not verified",
            robosuite.__version__, ", ".join(bridged),
        )  # fmt: skip
    return bridged


def accepts(function: Callable[..., Any], keyword: str) -> bool:
    """Whether a function names such a parameter."""
    return keyword in inspect.signature(function).parameters


def lazy_models(environment: Any) -> bool:
    """Let an environment class take ``load_model_on_init``; False if it does already."""
    if accepts(environment.__init__, "load_model_on_init"):
        return False
    stock = environment.__init__

    def __init__(self: Any, *args: Any, load_model_on_init: bool = True, **kwargs: Any) -> None:
        if load_model_on_init:
            stock(self, *args, **kwargs)
            return
        # Attributes of the instance hide the methods while the constructor runs.
        for method in _BUILDING:
            setattr(self, method, lambda: None)
        self._setup_observables = dict
        try:
            stock(self, *args, **kwargs)
        finally:
            for method in (*_BUILDING, "_setup_observables"):
                delattr(self, method)
        self.sim = None

    environment.__init__ = __init__
    return True


def task_options(task: Any) -> bool:
    """Let a task class take ``enable_multiccd`` and ``enable_sleeping_islands``; False if it does already."""
    if accepts(task.__init__, "enable_multiccd"):
        return False
    stock = task.__init__

    def __init__(
        self: Any, *args: Any, enable_multiccd: bool = False, enable_sleeping_islands: bool = False, **kwargs: Any
    ) -> None:
        if enable_sleeping_islands:
            raise TypeError("this robosuite knows no sleeping islands")
        stock(self, *args, **kwargs)
        if enable_multiccd:
            option = ET.Element("option")
            ET.SubElement(option, "flag", multiccd="enable")
            self.root.insert(0, option)

    task.__init__ = __init__
    return True


def legacy_base(factories: Any) -> bool:
    """Let a module's ``mobile_base_controller_factory`` make ``LEGACY_BASE``; False if it does already."""
    stock = factories.mobile_base_controller_factory
    try:
        stock(LEGACY_BASE, {})
    except ValueError:  # "Unknown controller name"
        pass
    except TypeError:  # it knows the name and misses the parameters
        return False

    def mobile_base_controller_factory(name: str, params: Any) -> Any:
        return stock(BASE if name == LEGACY_BASE else name, params)

    factories.mobile_base_controller_factory = mobile_base_controller_factory
    return True


def without_empty_categories(
    categories: Mapping[str, Mapping[str, Any]],
    groups: MutableMapping[str, list[str]],
    registries: Sequence[str],
    split: str = "",
) -> tuple[str, ...]:
    """Take object categories without models out of every group: RoboCasa may draw one, and then fails.

    Args:
        categories: category → registry → its ``mjcf_paths``.
        groups: group → its categories; changed in place.
        registries: those that objects are drawn from.
        split: ``pretrain`` or ``target``, RoboCasa's halves of a category; "" is all of it.

    Returns:
        Names of the categories that were taken out, in order.
    """
    empty = set()
    for name, known in categories.items():
        models = [known[registry].mjcf_paths for registry in registries if registry in known]
        if models and not any(_of_split(paths, split) for paths in models):
            empty.add(name)
    for name, members in groups.items():
        groups[name] = [member for member in members if member not in empty]
    return tuple(sorted(empty))


def _of_split(paths: Sequence[str], split: str) -> Sequence[str]:
    """The models of a category that a split has (``sample_kitchen_object_helper`` of RoboCasa 1.0.1)."""
    if not split:
        return paths
    held_back = max(len(paths) - 5, math.ceil(len(paths) / 2))
    return paths[:held_back] if split == "pretrain" else paths[held_back:]
