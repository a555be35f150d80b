"""What stands between a planned command and the arm: it leaves, or the arm holds and says why."""

from world2act_core.runtime.safety.filter import SafetyFilter
from world2act_core.runtime.safety.measured import Measured

__all__ = ["Measured", "SafetyFilter"]
