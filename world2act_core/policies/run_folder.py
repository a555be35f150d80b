"""The policies that a run folder holds, behind addresses ``run:FOLDER`` (post-trained) and ``run:FOLDER#base``."""

from __future__ import annotations

from pathlib import Path

from world2act_core.embodiment import Embodiment
from world2act_core.errors import RunError
from world2act_core.policies.protocol import Policy


def open_run_policy(reference: str, embodiment: Embodiment) -> Policy:
    """``FOLDER`` or ``FOLDER#base`` → policy.

    Raises:
        RunError: no such run, or the stage that trains the policy is not finished.
    """
    import torch

    from world2act_core.policies.compact import load_compact
    from world2act_core.residual.policy import PostTrainedPolicy, load_residual
    from world2act_core.runs.stage import read_stage

    torch.set_num_threads(1)  # as in the evaluation's workers: sums in another order would be other actions
    folder, _, part = reference.partition("#")
    if part not in ("", "base", "post-trained"):
        raise RunError(f"run:{reference} names {part!r}: expected #base or #post-trained")
    if not Path(folder).is_dir():
        raise RunError(f"there is no run folder {folder}: make one with 'world2act demo --run {folder}'")
    base_file = read_stage(Path(folder) / "base").path("policy.pt")
    base = load_compact(base_file, embodiment)
    if part == "base":
        return base
    residual_file = read_stage(Path(folder) / "stage2").path("residual.pt")
    return PostTrainedPolicy(base, load_residual(residual_file, base_file), embodiment)
