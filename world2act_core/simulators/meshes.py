"""Coarser meshes for the renderer: software rendering pays for every triangle, however few pixels it fills.

Vertex clustering (Rossignac & Borrel 1993): vertices that share a cell of a grid become one, and triangles that lost a
corner go. Corners keep their normals and texture coordinates, so that labels stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from world2act_core.types import Array

FEW = 300
"""Meshes with fewer triangles are left as they are."""

_OF_FACES = ("mesh_face", "mesh_facenormal", "mesh_facetexcoord")


@contextmanager
def coarser(model: Any, detail_m: float) -> Iterator[None]:
    """Within the block the meshes of a MuJoCo model lack what is smaller than ``detail_m`` metres; 0 changes nothing.

    For the upload to the renderer only: afterwards the model is as it was, so physics never sees it.
    """
    if not detail_m:
        yield
        return
    names = ("mesh_facenum", *_OF_FACES)
    originals = {name: getattr(model, name).copy() for name in names}
    for mesh in np.flatnonzero(model.mesh_facenum >= FEW):
        _coarsen(model, mesh, detail_m)
    try:
        yield
    finally:
        for name, original in originals.items():
            getattr(model, name)[:] = original


def _coarsen(model: Any, mesh: Any, detail_m: float) -> None:
    first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    vertices = model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]]
    faces = _representatives(vertices, detail_m)[model.mesh_face[first : first + count]]
    kept = _distinct(faces)
    model.mesh_face[first : first + count] = faces
    for name in _OF_FACES:
        values = getattr(model, name)[first : first + count]
        values[: len(kept)] = values[kept]
    model.mesh_facenum[mesh] = len(kept)


def _representatives(vertices: Array, detail_m: float) -> Array:
    """For each vertex ``(V, 3)`` the index of the first in its cell, ``(V,)``."""
    cells = np.floor(vertices / detail_m).astype(np.int64)
    _, first, cell = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    return np.asarray(first[cell.ravel()])


def _distinct(faces: Array) -> Array:
    """Indices of the faces ``(F, 3)`` that still are triangles, each set of corners once, in order."""
    a, b, c = faces.T
    triangles = np.flatnonzero((a != b) & (b != c) & (a != c))
    _, once = np.unique(np.sort(faces[triangles], axis=1), axis=0, return_index=True)
    return triangles[np.sort(once)]
