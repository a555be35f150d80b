"""Kitchens on disk: what stands in for RoboCasa's own is found out, what is missing has a way to get it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from world2act_core.errors import MissingExtraError
from world2act_core.simulators.protocol import PLACEHOLDER
from world2act_core.simulators.robocasa.assets import OWN, VARIABLE, assets_folder, kind_of_assets

BOX, BOWL = 8, 400
"""Vertices."""


def meshes(folder: Path, part: str, *vertices: int) -> None:
    for number, count in enumerate(vertices):
        file = folder / part / f"thing_{number}" / "visuals" / "model.obj"
        file.parent.mkdir(parents=True)
        points = np.random.default_rng(number).uniform(-1, 1, (count, 3))
        file.write_text("".join(f"v {x} {y} {z}\n" for x, y, z in points) + "f 1 2 3\n")


@pytest.mark.parametrize(
    ("fixtures", "objects", "kind"),
    [
        ([BOWL, BOWL, BOX], [BOWL, BOX, BOWL], OWN),  # a shelf may well be a box
        ([BOX, BOX], [BOX], PLACEHOLDER),
        ([BOWL, BOWL], [BOX, BOX, BOWL], PLACEHOLDER),
        ([BOX], [BOWL, BOWL], PLACEHOLDER),
    ],
)
def test_mere_boxes_are_stand_ins(tmp_path: Path, fixtures: list[int], objects: list[int], kind: str) -> None:
    meshes(tmp_path, "fixtures", *fixtures)
    meshes(tmp_path, "objects", *objects)
    assert kind_of_assets(tmp_path) == kind


def test_missing_kitchens_are_one_sentence_with_robocasas_own_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"robocasa.scripts.download_kitchen_assets --type all"):
        assets_folder(tmp_path)
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(MissingExtraError, match=f"not in the package, and {VARIABLE} is not set"):
        assets_folder(tmp_path)


def test_what_the_wheel_brings_is_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    meshes(tmp_path, "fixtures", BOWL)
    with pytest.raises(MissingExtraError, match="are not in"):
        assets_folder(tmp_path)


def test_the_named_folder_wins_over_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, named = tmp_path / "robocasa", tmp_path / "kitchens"
    for folder in (package / "models" / "assets", named):
        meshes(folder, "fixtures", BOWL)
        meshes(folder, "objects", BOWL)
        (folder / "textures").mkdir()
    monkeypatch.delenv(VARIABLE, raising=False)
    assert assets_folder(package) == package / "models" / "assets"
    monkeypatch.setenv(VARIABLE, str(named))
    assert assets_folder(package) == named
