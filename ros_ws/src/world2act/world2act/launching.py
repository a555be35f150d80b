"""Translates world2act_core.runtime.graph into actions of ``launch``. Needs launch and launch_ros (ROS 2 from apt)."""

from __future__ import annotations

import os
from typing import Any

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from world2act_core.runtime.graph import NodeSpec, describe


def launch_actions(name: str) -> list[Any]:
    """Launch arguments and nodes of a graph."""
    graph = describe(name)
    arguments = [DeclareLaunchArgument(a.name, default_value=a.default, description=a.help) for a in graph.arguments]

    def nodes(context: LaunchContext) -> list[Any]:
        values = {a.name: LaunchConfiguration(a.name).perform(context) for a in graph.arguments}
        return [_node(node) for node in graph.build(values).nodes]

    return [*arguments, OpaqueFunction(function=nodes)]


def _node(spec: NodeSpec) -> Any:
    def end_all(event: Any, context: LaunchContext) -> Any:
        # A second shutdown, asked for by nodes that end because of the first, makes launch_ros fail.
        return None if context.is_shutdown else Shutdown(reason=f"{spec.name} ended")

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
