"""Translates world2act_core.runtime.graphs into actions of ``launch``. Needs launch and launch_ros (ROS 2 from apt)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from world2act_core.runtime.graphs import Include, NodeSpec, describe


def launch_actions(name: str) -> list[Any]:
    """Launch arguments and nodes of a graph."""
    graph = describe(name)
    arguments = [DeclareLaunchArgument(a.name, default_value=a.default, description=a.help) for a in graph.arguments]

    def nodes(context: LaunchContext) -> list[Any]:
        values = {a.name: LaunchConfiguration(a.name).perform(context) for a in graph.arguments}
        built = graph.build(values)
        notices = [LogInfo(msg=f"WARNING: {text}") for text in built.notices]
        return [*notices, *map(_include, built.includes), *map(_node, built.nodes)]

    return [*arguments, OpaqueFunction(function=nodes)]


def _include(include: Include) -> Any:
    path = Path(get_package_share_directory(include.package)) / "launch" / include.launch_file
    given = {name: value for name, value in include.arguments.items() if value}
    # Scoped: its arguments (robot_ip, namespace) must not become this graph's, nor this graph's become its own.
    inner = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(path)), launch_arguments=given.items())
    return GroupAction([inner], scoped=True, forwarding=False)


def _node(spec: NodeSpec) -> Any:
    def end_all(event: Any, context: LaunchContext) -> Any:
        # A second shutdown, asked for by nodes that end because of the first, makes launch_ros fail.
        if context.is_shutdown:
            return None
        if event.returncode:  # launch ends with exit code 1 for an exception, with 0 for everything else
            raise RuntimeError(f"{spec.name} ended with exit code {event.returncode}")
        return Shutdown(reason=f"{spec.name} ended")

    return (LifecycleNode if spec.lifecycle else Node)(
        package=spec.package,
        executable=spec.executable,
        name=spec.name,
        namespace=spec.namespace,
        parameters=[dict(spec.parameters), *([spec.params_file] if spec.params_file else [])],
        remappings=list(spec.remappings.items()),
        additional_env={name: value for name, value in spec.env.items() if name not in os.environ},  # the user's wins
        output="screen",
        on_exit=end_all if spec.essential else None,
    )
