"""Behaviour cloning on labels that somebody else wrote: the simplest ways to use videos, adapters and own successes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from world2act_core.alignment.adapters import Alignment
from world2act_core.alignment.states import StateDynamics, read_states
from world2act_core.alignment.train import video_latents
from world2act_core.embodiment import Embodiment
from world2act_core.embodiment.displacement import Displacement
from world2act_core.episodes.chunks import ChunkTable
from world2act_core.types import Array
from world2act_core.world_model.chunk_latents import ChunkLatents


def pseudo_labelled(
    table: ChunkTable, alignment: Alignment, latents: ChunkLatents, embodiment: Embodiment, used: Array
) -> ChunkTable:
    """The chunks of action-free videos with the actions that Stage 1's adapter reads from their real latents.

    What the demonstrations hardly use is set to nothing (``used``, ``(A,)`` bool), as the residual leaves it alone.
    """
    with torch.no_grad():
        z_v = video_latents(alignment, latents, np.arange(len(table)))
        said = alignment.decoder(z_v).numpy()
    displacement = alignment.displacement
    read = embodiment.decided(displacement.back(said, table.standing))
    at_rest = displacement.back(np.zeros_like(said), table.standing)
    return replace(table, actions=np.where(used, read, at_rest), labelled=np.ones(len(table), bool))


def state_labelled(table: ChunkTable, model: StateDynamics, embodiment: Embodiment, used: Array) -> ChunkTable:
    """The chunks of action-free episodes with the actions that the course of the state tells; what the demonstrations
    hardly use is set to rest, as above."""
    read, units = read_states(model, table, embodiment), Displacement(model.shape.units)
    at_rest = units.back(np.zeros_like(read), table.standing)
    return replace(table, actions=np.where(used, read, at_rest), labelled=np.ones(len(table), bool))


def successful(table: ChunkTable, success: Array) -> ChunkTable:
    """Only the chunks of the episodes that succeeded, ``success`` ``(episodes,)`` bool: filtered cloning."""
    return table.select(np.flatnonzero(np.asarray(success)[table.episode]))
