"""What moved between two latents (ours): dense optical flow of the pictures that they decode to.

An adapter that sees a scene guesses the action from where the policy usually goes; one that sees only how the latents
differ has to learn from few labels what a difference means. How far things moved on the image is nearly the action
itself, wherever they are: read from flow, ten demonstrations and the base's own rollouts tell as much of where an
expert's hand went as the true actions of a hundred of its videos do through latents (docs/post-training-trials.md).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from torch import nn

from world2act_core.networks.codec import PatchCodec
from world2act_core.types import Array

GRID = 8
"""Cells of each camera's image, in each direction; the flow of a cell is the mean over its pixels."""

AT_A_TIME = 16
"""Latents decoded together: more pictures than the cache holds take twice as long each."""


class Motion(nn.Module):
    """Latents before and after a chunk ``(B, C, h, w)`` → flow ``(B, 2 V, GRID, GRID)``, in cells of the grid, of V
    cameras tiled side by side. Nothing here is learned; by dense inverse search (Kroeger et al. 2016), as OpenCV has
    it."""

    def __init__(self, codec: PatchCodec) -> None:
        """``codec`` is copied; it must be fitted before its latents mean anything."""
        super().__init__()
        self.codec = copy.deepcopy(codec)
        self.values = 2 * codec.shape["views"] * GRID * GRID

    @torch.no_grad()
    def forward(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        with _one_thread():
            pairs = zip(*self._pictures(before, after), strict=True)
            flow = [
                [self._cells(search.calc(one, other, None)) for one, other in zip(*pair, strict=True)]  # type: ignore[call-overload]
                for pair in pairs
            ]
        found = np.array(flow, np.float32).transpose(0, 1, 4, 2, 3)  # (B, V, 2, GRID, GRID)
        return torch.from_numpy(found).flatten(1, 2)

    def _pictures(self, before: torch.Tensor, after: torch.Tensor) -> tuple[list[list[Array]], list[list[Array]]]:
        """The views of each latent before and of each after; where a chunk follows on another, they are seen once."""
        ahead = [self._views(part) for part in before.split(AT_A_TIME)]
        ones = [views for part in ahead for views in part]
        follows = torch.zeros(len(before), dtype=torch.bool)
        follows[:-1] = (after[:-1] == before[1:]).flatten(1).all(1)
        others = iter([views for part in after[~follows].split(AT_A_TIME) for views in self._views(part)])
        return ones, [ones[row + 1] if known else next(others) for row, known in enumerate(follows.tolist())]

    def _views(self, latents: torch.Tensor) -> list[list[Array]]:
        """The grey picture of each camera, ``(S, S)`` uint8, of each latent."""
        frames = self.codec.decode(latents).numpy()
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        views = self.codec.shape["views"]
        return [[np.ascontiguousarray(view) for view in np.split(frame, views, axis=1)] for frame in grey]

    def _cells(self, flow: Array) -> Array:
        cells: Array = cv2.resize(flow, (GRID, GRID), interpolation=cv2.INTER_AREA) * (GRID / len(flow))
        return cells


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV with one thread: its own wait for each other longer than they search in pictures so small."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
