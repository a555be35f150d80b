"""Topics of the graph and their types, from the embodiment contract."""

from __future__ import annotations

from world2act_core.embodiment import Embodiment
from world2act_core.episodes import messages


def state_topics(embodiment: Embodiment) -> dict[str, str]:
    """State topic → message type, in the contract's order."""
    streams = embodiment.state.values()
    return {s.topic: messages.JOINT_STATE if s.joints else messages.POSE_STAMPED for s in streams}


def recorded_topics(embodiment: Embodiment) -> dict[str, str]:
    """Every topic that an episode consists of → message type."""
    return {
        messages.EPISODE_EVENT_TOPIC: messages.EPISODE_EVENT,
        messages.SKILL_PROMPT_TOPIC: messages.SKILL_PROMPT,
        messages.ACTION_CHUNK_TOPIC: messages.ACTION_CHUNK,
        embodiment.action.topic: messages.ARM_COMMAND,
        **state_topics(embodiment),
        **{camera.topic: messages.IMAGE for camera in embodiment.cameras.values()},
    }
