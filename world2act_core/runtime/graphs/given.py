"""What a user gives to every node alike, a namespace and a file of parameters, judged before any node starts.

Each node would find the same fault when it starts, every one with a traceback of its own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from world2act_core.embodiment.checked import Checked, read_checked
from world2act_core.errors import ContractError, World2ActError

PARAMETERS = "ros__parameters"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NODE = re.compile(r"/?([A-Za-z_][A-Za-z0-9_]*|\*\*?)(/([A-Za-z_][A-Za-z0-9_]*|\*\*?))*")


def checked_namespace(given: str) -> str:
    """The same namespace.

    Raises:
        World2ActError: it is none in ROS 2.
    """
    names = given.strip("/")
    if names and not all(_NAME.fullmatch(name) for name in names.split("/")):
        raise World2ActError(
            f"namespace:={given} is no ROS namespace: it may hold letters, digits and _, a digit never first, and a "
            "single / between names, for example left_arm or cell3/left_arm"
        )
    return given


def checked_params_file(given: str) -> str:
    """The file's whole path, "" for none.

    Raises:
        World2ActError: there is no such file, or it is no parameter file.
    """
    if not given:
        return ""
    if not Path(given).is_file():
        raise World2ActError(f"params_file {given} does not exist")
    try:
        _check_nodes(read_checked(Path(given), may_be_empty=True))
    except ContractError as error:
        raise World2ActError(f"params_file {error}; expected is NODE: {{{PARAMETERS}: {{NAME: VALUE}}}}") from None
    return str(Path(given).resolve())


def _check_nodes(nodes: Checked) -> None:
    """Nodes by name, perhaps below namespaces or with wildcards in them, each with its parameters."""
    for name, below in nodes.items():
        if not _NODE.fullmatch(name):
            nodes.refuse(name, "is not the name of a node")
        if PARAMETERS not in below:
            _check_nodes(below)
            continue
        for other in below.keys:
            if other != PARAMETERS:
                below.refuse(other, f"stands beside {PARAMETERS}, where nothing else may")
        _check_values(below.section(PARAMETERS))


def _check_values(parameters: Checked) -> None:
    for name in parameters.keys:
        value = parameters.value(name)
        if isinstance(value, dict):
            _check_values(parameters.section(name))
        elif value is None:
            parameters.refuse(name, "has no value")
        elif isinstance(value, list) and not _alike(value):
            parameters.refuse(name, "must be a list of values of one kind")


def _alike(values: list[Any]) -> bool:
    return len({type(value) for value in values}) <= 1 and not any(isinstance(value, list) for value in values)
