"""What the stages of a recipe call their files, and how one that has trained ends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from world2act_core.runs import Stage

BAGS, POLICY, WORLD_MODEL, ALIGNMENT, RESIDUAL = "bags", "policy.pt", "world_model.pt", "alignment.pt", "residual.pt"
STATE_DYNAMICS = "state_dynamics.pt"
HISTORY = "history.json"
BASE_ADDRESS = "base.json"
"""In the place of ``POLICY`` where the base is not ours: which one it is and where."""


def finish(stage: Stage, history: Sequence[Mapping[str, float]], metrics: dict[str, float]) -> None:
    """Write the history of a training and its figures for the manifest."""
    stage.path(HISTORY).write_text(json.dumps(history))
    stage.metrics = metrics
