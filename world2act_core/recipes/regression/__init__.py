"""What a policy passes before an arm moves: the recipe of ``pytest sim_tests`` and of ``world2act gate --policy``.

One *entry* is a task of a suite. Its trials run once and are then looked at by four checks: success against a stored
baseline, safety counters, latency, and the same starts through the ROS 2 graph.
"""

from world2act_core.recipes.regression.checks import Check, SafetyLimits
from world2act_core.recipes.regression.entry import Checked, check_entry
from world2act_core.recipes.regression.question import Entry, Regression, planned_entries
from world2act_core.recipes.regression.verdict import REPORT, VERDICT, conclude, forget, lines

__all__ = [
    "REPORT",
    "VERDICT",
    "Check",
    "Checked",
    "Entry",
    "Regression",
    "SafetyLimits",
    "check_entry",
    "conclude",
    "forget",
    "lines",
    "planned_entries",
]
