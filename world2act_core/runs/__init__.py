"""A run is a folder: stages with manifests that resume after a kill and are not repeated without need."""

from world2act_core.runs.stage import Run, Stage, file_digest
from world2act_core.runs.training import Checkpointed, fit, step_generator

__all__ = ["Checkpointed", "Run", "Stage", "file_digest", "fit", "step_generator"]
