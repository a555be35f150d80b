"""Which action comes next: action chunks in one of three modes, and a hold with a reason when there is none.

A hold is never an action. Zeros mean "stay" in one action layout and "slam into the zero pose" in another, so the
scheduler has no zeros to give: it answers with ``Track`` (execute these values) or ``Hold`` (stay, and this is why).
"""

from world2act_core.runtime.chunks.commands import Command, Hold, Track
from world2act_core.runtime.chunks.plans import ENSEMBLE, MODES, OPEN_LOOP, REAL_TIME, check_mode
from world2act_core.runtime.chunks.scheduler import LONGEST, ChunkScheduler

__all__ = [
    "ENSEMBLE",
    "LONGEST",
    "MODES",
    "OPEN_LOOP",
    "REAL_TIME",
    "ChunkScheduler",
    "Command",
    "Hold",
    "Track",
    "check_mode",
]
