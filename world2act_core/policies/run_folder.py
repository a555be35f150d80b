"""The policies that a run folder holds, behind addresses ``run:FOLDER`` (post-trained) and ``run:FOLDER#base``."""

from __future__ import annotations

from pathlib import Path

from world2act_core.embodiment import Embodiment
from world2act_core.errors import RunError
from world2act_core.policies.protocol import Policy


def policy_files(folder: Path) -> dict[str, Path]:
    """The files that make a run's policies, by name: what a gate binds its verdict to. They hold all that acts: what of
    the codec, B_a and D_a the residual uses is in its own file. Where there is a residual for each skill, ``residual``
    is ``residuals.json``, which holds the hash of each; where the base is no file of ours, ``base`` is ``base.json``,
    which says where it is and which one."""
    by_skill, one = folder / "stage2" / "residuals.json", folder / "stage2" / "residual.pt"
    elsewhere, ours = folder / "base" / "base.json", folder / "base" / "policy.pt"
    return {
        "base": elsewhere if elsewhere.is_file() else ours,
        "residual": by_skill if by_skill.is_file() else one,
    }


def split_reference(reference: str) -> tuple[Path, str]:
    """``FOLDER#base`` → the run folder and which of its policies, ``base`` or ``post-trained``.

    Raises:
        RunError: no such run, or no such policy of a run.
    """
    folder, _, part = reference.partition("#")
    if part not in ("", "base", "post-trained"):
        raise RunError(f"run:{reference} names {part!r}: expected #base or #post-trained")
    return existing_run(Path(folder)), part or "post-trained"


def existing_run(folder: Path) -> Path:
    """The same folder.

    Raises:
        RunError: there is none, or it is no run's.
    """
    from world2act_core.runs.stage import holds_stage

    if not folder.is_dir():
        raise RunError(f"there is no run folder {folder}: make one with 'world2act demo --run {folder}'")
    if not holds_stage(folder):
        raise RunError(
            f"{folder} is no run, there is no stage in it: name the folder that 'world2act demo --run FOLDER' or "
            "'world2act post-train --out FOLDER' has made"
        )
    return folder


def open_run_policy(reference: str, embodiment: Embodiment) -> Policy:
    """``FOLDER`` or ``FOLDER#base`` → policy.

    Raises:
        RunError: no such run, or the stage that trains the policy is not finished.
    """
    import torch

    from world2act_core.residual.bases import open_base
    from world2act_core.residual.files import load_post_trained
    from world2act_core.runs.stage import read_stage

    torch.set_num_threads(1)  # as in the evaluation's workers: sums in another order would be other actions
    folder, part = split_reference(reference)
    files = policy_files(folder)
    read_stage(files["base"].parent)
    base = f"run:{folder}#base"
    if part == "base":
        return open_base(base, embodiment).open()
    read_stage(files["residual"].parent)
    return load_post_trained(base, files["residual"], embodiment)
