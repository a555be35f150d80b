"""A policy of LeRobot's, in process: ``lerobot:PATH-OR-ID``.

LeRobot's own asynchronous server sends Python pickles, which nothing here reads. Its package, in this process, reads
weights and statistics from safetensors and all else from JSON. It asks for another torch than World2Act, so the two
usually live in different environments: see docs/policies.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError, MissingExtraError, RunError, printable
from world2act_core.policies.address import path_with_options
from world2act_core.policies.mapping import (
    STILL_PROMPT,
    ActionKey,
    ImageKey,
    ModelMapping,
    Part,
    StateKey,
    load_mapping,
)
from world2act_core.policies.protocol import Policy
from world2act_core.types import LONGEST_CHUNK, ActionChunk, Array, Observation

# LeRobot's names. Not taken from episodes.lerobot, which would bring rosbags and more into LeRobot's environment.
IMAGES, STATE, ACTION, TASK = "observation.images.", "observation.state", "action", "task"


class LerobotPolicy(Policy):
    """A pretrained policy with its processors, which normalise as it was trained.

    Args:
        model: LeRobot's ``PreTrainedPolicy``.
        before, after: its processors.
        mapping: of its features.
        identity: what somebody calls its weights, where they are no files here.

    Raises:
        ContractError: its chunks do not fit the embodiment.
    """

    def __init__(self, model: Any, before: Any, after: Any, mapping: ModelMapping, identity: str = "") -> None:
        self._model, self._before, self._after, self.mapping = model, before, after, mapping
        self.embodiment, self.identity = mapping.embodiment, identity
        self.cameras = tuple(dict.fromkeys(entry.camera for entry in mapping.images.values()))
        parts = [part for entry in mapping.state.values() for part in entry.parts]
        self.streams = tuple(dict.fromkeys(part.stream for part in parts))
        self.metadata = {
            "library": "lerobot",
            "type": str(getattr(model.config, "type", type(model).__name__)),
            "images": mapping.frame_sizes(),
        }
        self.horizon = 0
        self.horizon = self._first().shape[1]

    def reset(self) -> None:
        self._model.reset()

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        return self.act_batch([observation], [prompt])[0]

    @torch.inference_mode()
    def act_batch(self, observations: Sequence[Observation], prompts: Sequence[str]) -> list[ActionChunk]:
        batch: dict[str, Any] = {TASK: list(prompts)}
        for key in self.mapping.images:
            images = np.stack([self.mapping.encode_image(key, o.images) for o in observations])
            batch[key] = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 255
        for key in self.mapping.state:
            batch[key] = torch.from_numpy(np.stack([self.mapping.encode_state(key, o.state) for o in observations]))
        said = self._after(self._model.predict_action_chunk(self._before(batch)))
        actions = self.mapping.decode_actions({ACTION: said.to("cpu", torch.float32).numpy()})
        steps = self.horizon or actions.shape[1]
        if actions.shape[:2] != (len(prompts), steps) or not self.embodiment.chunk_length <= steps <= LONGEST_CHUNK:
            raise ContractError(
                f"the LeRobot policy gives chunks of shape {actions.shape[1:]}, but {self.embodiment.name} executes "
                f"{self.embodiment.chunk_length} steps and takes at most {LONGEST_CHUNK}"
            )
        return [
            ActionChunk(chunk, observation.stamp, prompt)
            for chunk, observation, prompt in zip(actions, observations, prompts, strict=True)
        ]

    def _first(self) -> Array:
        """One chunk, of a black scene: says how long they are, and warms the model up."""
        still = self.mapping.still()
        chunk = self.act_batch([still], [STILL_PROMPT])[0]
        self.reset()
        return chunk.actions[None]


def open_lerobot(reference: str, embodiment: Embodiment) -> LerobotPolicy:
    """``PATH-OR-ID`` or ``PATH-OR-ID?device=cuda&mapping=FILE&identity=NAME`` → policy.

    Raises:
        MissingExtraError: LeRobot is not installed here.
        ContractError: the policy was trained for other cameras, states or actions, or looks back in time.
        RunError: there is no such policy, or LeRobot cannot load it.
    """
    path, options = path_with_options("lerobot", reference, ("device", "identity", "mapping"))
    try:
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    except (ImportError, TypeError, RuntimeError) as missing:  # beside packages that it does not fit, it dies anyhow
        raise MissingExtraError(
            f"LeRobot cannot be imported here ({printable(str(missing))}): it needs an environment of its own, from "
            f"which 'world2act serve --policy lerobot:...' serves its policies (docs/policies.md)"
        ) from missing
    device = options.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        config = PreTrainedConfig.from_pretrained(path)
        config.device = device
        model = get_policy_class(config.type).from_pretrained(path, config=config).to(device).eval()
        before, after = make_pre_post_processors(
            config, pretrained_path=path, preprocessor_overrides={"device_processor": {"device": device}}
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
        raise RunError(f"LeRobot cannot load {path}: {printable(str(error))}") from error
    if getattr(config, "n_obs_steps", 1) != 1:
        raise ContractError(f"{path} looks {config.n_obs_steps} observations back, but a policy here sees only now")
    mapping = policy_mapping(config, embodiment, options.get("mapping", ""), path)
    return LerobotPolicy(model, before, after, mapping, options.get("identity", ""))


def policy_mapping(config: Any, embodiment: Embodiment, file: str, where: str) -> ModelMapping:
    """The mapping that fits a policy's features: of our own data sets, or the one for the embodiment's published ones.

    Raises:
        ContractError: none fits.
    """
    images = {key: tuple(entry.shape)[-2:] for key, entry in config.input_features.items() if key.startswith(IMAGES)}
    state = {key: tuple(entry.shape) for key, entry in config.input_features.items() if not key.startswith(IMAGES)}
    action = tuple(config.output_features[ACTION].shape)
    candidates = [load_mapping("lerobot", embodiment, file)] if file else [own_mapping(embodiment)]
    if not file:
        with contextlib.suppress(ContractError):  # nobody may have published policies for this embodiment
            candidates.append(load_mapping("lerobot", embodiment))
    for mapping in candidates:
        known = {key: (entry.size,) for key, entry in mapping.state.items()}
        sizes = action == (embodiment.action.size,) and all(known.get(key) == shape for key, shape in state.items())
        if sizes and images.keys() <= mapping.images.keys():
            return _only(mapping, images, state)
    wanted = ", ".join([*images, *(f"{key} {shape}" for key, shape in state.items()), f"{ACTION} {action}"])
    raise ContractError(f"{where} is a policy for another robot than {embodiment.name}: its features are {wanted}")


def _only(mapping: ModelMapping, images: Mapping[str, tuple[int, ...]], state: Mapping[str, Any]) -> ModelMapping:
    """Those keys that the policy has, images in the size that it was trained on."""
    sized = {key: replace(mapping.images[key], rows=rows, columns=columns) for key, (rows, columns) in images.items()}
    return replace(mapping, images=sized, state={key: mapping.state[key] for key in state})


def own_mapping(embodiment: Embodiment) -> ModelMapping:
    """Features as our own LeRobot data sets have them (`episodes.lerobot`): the contract's names, upright images."""
    parts = tuple(Part(name, "", None, stream.size) for name, stream in embodiment.state.items())
    images = {}
    for name, camera in embodiment.cameras.items():
        key = f"{IMAGES}{name}"
        images[key] = ImageKey(key, name, *camera.upright_size, mirror=False)
    actions = {ACTION: ActionKey(ACTION, tuple(range(embodiment.action.size)), None, None)}
    state = {STATE: StateKey(STATE, parts, extra=False)}
    return ModelMapping(images, state, actions, TASK, embodiment, "the contract")
