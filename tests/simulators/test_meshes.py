"""The renderer draws coarser meshes in less time; physics never sees them."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from world2act_core.simulators.meshes import coarser

COMPARE = """
from dataclasses import replace
import numpy as np
from world2act_core.simulators.rendering import FAST, choose_backend
choose_backend()
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.starts import Start

images = []
for settings in (replace(FAST, detail_m=0.0), FAST):
    simulator = LiberoSimulator("libero_goal", 8, 128, settings)
    simulator.reset(Start("libero_goal", 8, 0))
    images.append(simulator.observe(("agentview", "wrist")).images)
    simulator.close()
for camera in images[0]:
    fine, coarse = (image[camera].astype(float) for image in images)
    print(abs(fine - coarse).mean(), abs(fine - fine.mean()).mean())
"""


@pytest.fixture
def sphere():
    """A model with one mesh of some thousand triangles: a dimpled sphere of 5 cm."""
    mujoco = pytest.importorskip("mujoco")
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2000, 3))
    points *= 0.05 / np.linalg.norm(points, axis=1, keepdims=True)
    from scipy.spatial import ConvexHull

    faces = " ".join(map(str, ConvexHull(points).simplices.ravel()))
    vertices = " ".join(f"{value:.6f}" for value in points.ravel())
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><asset><mesh name="s" vertex="{vertices}" face="{faces}"/></asset>'
        '<worldbody><geom type="mesh" mesh="s"/></worldbody></mujoco>'
    )


def test_detail_below_the_limit_goes_and_comes_back(sphere) -> None:
    before = {name: getattr(sphere, name).copy() for name in ("mesh_facenum", "mesh_face", "mesh_facenormal")}
    with coarser(sphere, 0.01):
        left = sphere.mesh_face[: sphere.mesh_facenum[0]]
        assert 50 < len(left) < before["mesh_facenum"][0] / 4
        corners = sphere.mesh_vert[left]
        assert (np.ptp(corners, axis=1).max(1) > 1e-6).all()  # nothing that shrank to a line or a point by its corners
        assert np.ptp(corners.reshape(-1, 3), axis=0).min() > 0.08  # still a sphere of 10 cm, but for the grid
    for name, values in before.items():
        assert np.array_equal(getattr(sphere, name), values), name


def test_no_detail_given_changes_nothing(sphere) -> None:
    count = sphere.mesh_facenum[0]
    with coarser(sphere, 0.0):
        assert sphere.mesh_facenum[0] == count


def test_images_look_the_same_to_a_policy() -> None:
    """By camera: the mean difference in grey levels is small against what the image has to say."""
    printed = subprocess.run(
        [sys.executable, "-c", COMPARE], capture_output=True, text=True, check=True, env=os.environ.copy()
    ).stdout.split()
    for difference, contrast in np.array(printed, float).reshape(2, 2):
        assert difference < 0.08 * contrast
