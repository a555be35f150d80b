"""The ONE description of which nodes run, with which parameters: for the launch files and for ``world2act up`` alike.

Plain Python without ROS. ``launch/*.launch.py`` translates it into launch actions, ``runtime.processes`` starts the
same nodes as processes where ``launch`` is not installed.
"""

from world2act_core.errors import World2ActError
from world2act_core.runtime.graphs.description import (
    Graph,
    GraphDescription,
    Include,
    NodeSpec,
    Value,
    dds_environment,
)
from world2act_core.runtime.graphs.real_arm import REAL_ARM
from world2act_core.runtime.graphs.record import RECORD
from world2act_core.runtime.graphs.replay import REPLAY
from world2act_core.runtime.graphs.sim_arm import SIM_ARM

__all__ = ["GRAPHS", "Graph", "GraphDescription", "Include", "NodeSpec", "Value", "dds_environment", "describe"]

GRAPHS = {graph.name: graph for graph in (SIM_ARM, REAL_ARM, RECORD, REPLAY)}


def describe(name: str) -> GraphDescription:
    """The description of a graph by name."""
    if name not in GRAPHS:
        raise World2ActError(f"there is no graph {name!r}; there are {', '.join(GRAPHS)}")
    return GRAPHS[name]
