"""What is installed, what is missing, and the one command that mends it.

A check never takes the doctor down: whatever may hang, crash or import half of the world runs in a process of its own
with a time limit (`probe`).
"""

from world2act_core.doctor.checks import CHECKS
from world2act_core.doctor.report import as_json, as_table, demo_ready, examine
from world2act_core.doctor.types import Finding, Status

__all__ = ["CHECKS", "Finding", "Status", "as_json", "as_table", "demo_ready", "examine"]
