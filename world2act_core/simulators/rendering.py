"""Off-screen images of a MuJoCo scene, upright, rendered only when asked for.

On a machine without a GPU a LIBERO frame costs 10 to 40 control steps of physics, so nothing here renders ahead.
"""

from __future__ import annotations

import ctypes.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from world2act_core.errors import World2ActError
from world2act_core.simulators.meshes import coarser
from world2act_core.types import Array


@dataclass(frozen=True)
class RenderSettings:
    """How much the renderer does for one frame.

    Attributes:
        effects: shadows, reflections, skybox and haze.
        multisamples: anti-aliasing samples a pixel.
        shadow_map: size of the shadow map; 0 saves its memory and set-up.
        detail_m: metres below which the shape of a mesh is not drawn; 0 draws every triangle (see ``meshes``).
    """

    effects: bool
    multisamples: int
    shadow_map: int
    detail_m: float


FAST = RenderSettings(effects=False, multisamples=0, shadow_map=0, detail_m=0.005)
"""A tenth of the time of STOCK in software; what compact policies train and run on."""

STOCK = RenderSettings(effects=True, multisamples=4, shadow_map=4096, detail_m=0.0)
"""The look LIBERO's own environment gives, which published checkpoints were trained on."""


def choose_backend() -> str:
    """Set ``MUJOCO_GL`` unless it is set: ``egl`` where there is a GPU, else ``osmesa``. Call before importing mujoco.

    Returns:
        The backend that mujoco will use.

    Raises:
        World2ActError: no off-screen OpenGL library, or mujoco was imported before with another backend.
    """
    if chosen := os.environ.get("MUJOCO_GL"):
        return chosen
    if "mujoco" in sys.modules:
        raise World2ActError(
            "mujoco was imported before a rendering backend was chosen: set MUJOCO_GL=osmesa (CPU) or MUJOCO_GL=egl "
            "(GPU) before Python starts, or import mujoco after world2act_core.simulators"
        )
    gpu = any(Path("/dev").glob("nvidia[0-9]*")) or any(Path("/dev").glob("dri/renderD*"))
    libraries = {"egl": "EGL", "osmesa": "OSMesa"}
    for backend in ("egl", "osmesa") if gpu else ("osmesa",):
        if ctypes.util.find_library(libraries[backend]):
            os.environ["MUJOCO_GL"] = backend
            return backend
    raise World2ActError(
        f"no off-screen OpenGL library for MuJoCo on this machine {'with' if gpu else 'without'} a GPU: "
        f"install libosmesa6{' or libegl1' if gpu else ''} with apt"
    )


class OffscreenRenderer:
    """Cameras of one MuJoCo model. The OpenGL context is made at the first frame.

    Attributes:
        frames: how many frames were rendered so far.
    """

    def __init__(self, model: Any, data: Any, settings: RenderSettings) -> None:
        self._model, self._data, self._settings = model, data, settings
        self._renderers: dict[tuple[int, int], Any] = {}
        self.frames = 0

    def render(self, camera: str, width: int, height: int) -> Array:
        """One frame ``(height, width, 3)`` uint8 RGB, row 0 at the top, of the scene as it was last forwarded."""
        renderer = self._renderers.get((width, height)) or self._make(width, height)
        renderer.update_scene(self._data, camera=camera, scene_option=self._options())
        self.frames += 1
        image: Array = renderer.render()
        return image

    def _options(self) -> Any:
        import mujoco

        options = mujoco.MjvOption()
        options.geomgroup[0] = 0  # robosuite's collision geometry
        options.geomgroup[1] = 1  # robosuite's visual geometry
        return options

    def _make(self, width: int, height: int) -> Any:
        import mujoco

        visual = self._model.vis
        visual.quality.offsamples = self._settings.multisamples
        visual.quality.shadowsize = self._settings.shadow_map
        visual.global_.offwidth, visual.global_.offheight = width, height  # a larger buffer costs time in software
        with coarser(self._model, self._settings.detail_m):  # the renderer takes its own copy of the meshes
            renderer = mujoco.Renderer(self._model, height=height, width=width)
        if not self._settings.effects:
            for flag in ("SHADOW", "REFLECTION", "SKYBOX", "HAZE"):
                renderer.scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = 0
        self._renderers[width, height] = renderer
        return renderer

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
