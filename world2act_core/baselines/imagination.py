"""The decoded imagination, executed directly: no Stage 2, no base. Stage 2 has to be better than it, or as good."""

from __future__ import annotations

import json

import numpy as np
import torch

from world2act_core.alignment.adapters import Alignment, load_alignment
from world2act_core.embodiment import Embodiment
from world2act_core.embodiment.displacement import standing
from world2act_core.errors import RunError
from world2act_core.policies.address import listed_files
from world2act_core.policies.compact import CompactConfig, compact_inputs
from world2act_core.policies.protocol import Policy
from world2act_core.types import ActionChunk, Array, Observation
from world2act_core.world_model.compact import CompactWorldModel, load_world_model


class ImaginationPolicy(Policy):
    """Imagines the next chunk from the last two frames it saw, reads it with B_v and executes what D_a decodes."""

    stateful = True

    def __init__(
        self,
        model: CompactWorldModel,
        alignment: Alignment,
        inputs: CompactConfig,
        embodiment: Embodiment,
        used: Array,
    ) -> None:
        """``inputs`` says which cameras and streams the frames are made of; they must be the world model's. ``used``,
        ``(A,)`` bool, says in which action dimensions the adapter is believed; in the others the policy does nothing,
        as cloning on what the adapter reads has it."""
        self._used = used
        self._model, self._alignment = model.eval(), alignment.eval()
        self._read = alignment.reader_of_imagined
        self._inputs, self._embodiment = inputs, embodiment
        self.cameras, self.streams, self.horizon = inputs.cameras, inputs.streams, embodiment.chunk_length
        self.reset()

    def reset(self) -> None:
        self._last: torch.Tensor | None = None
        self._chunks = 0

    @torch.inference_mode()
    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        frame, _ = compact_inputs(observation, self._inputs, self._embodiment)
        now = self._model.encode_frames(frame)
        last = now if self._last is None else self._last
        imagined = self._model.predict(last, now, [prompt], torch.tensor([self._chunks]), 1)[:, :, 1]
        said = self._alignment.decoder(self._read(now, imagined))[0].numpy()
        self._last, self._chunks = now, self._chunks + 1
        displacement = self._alignment.displacement
        stood = standing(self._embodiment, observation.state) if displacement.units else None
        actions = self._embodiment.decided(displacement.back(said, stood))
        at_rest = displacement.back(np.zeros_like(said), stood)
        return ActionChunk(np.where(self._used, actions, at_rest), observation.stamp, prompt)


def open_imagination(reference: str, embodiment: Embodiment) -> ImaginationPolicy:
    """``WORLD_MODEL,ALIGNMENT,USED`` → policy; the world model's views are the embodiment's first cameras, and ``USED``
    is a JSON list of as many truth values as an action has dimensions.

    Raises:
        RunError: one of the files is missing, or the list is none of this embodiment.
    """
    model_file, alignment_file, used_file = listed_files(reference, "WORLD_MODEL", "ALIGNMENT", "USED")
    used = json.loads(used_file.read_text())
    if not (isinstance(used, list) and len(used) == embodiment.action.low.size):
        raise RunError(f"{used_file} must say of each of {embodiment.action.low.size} action dimensions if it is used")
    torch.set_num_threads(1)  # as in the evaluation's workers: sums in another order would be other actions
    model, alignment = load_world_model(model_file), load_alignment(alignment_file)
    cameras = tuple(embodiment.cameras)[: model.config.views]
    inputs = CompactConfig(cameras=cameras, image_size=model.config.image_size)
    return ImaginationPolicy(model, alignment, inputs, embodiment, np.array(used, bool))
