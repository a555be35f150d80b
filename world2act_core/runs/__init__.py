"""A run is a folder: stages with manifests that resume after a kill and are not repeated without need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from world2act_core.runs.stage import Run, Stage, file_digest

if TYPE_CHECKING:
    from world2act_core.runs.training import Checkpointed, fit, step_generator

__all__ = ["Checkpointed", "Run", "Stage", "file_digest", "fit", "step_generator"]


def __getattr__(name: str) -> Any:
    """What trains brings torch, which a robot that only reads a manifest need not load."""
    if name not in ("Checkpointed", "fit", "step_generator"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from world2act_core.runs import training

    return getattr(training, name)
