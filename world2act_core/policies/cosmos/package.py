"""Cosmos Policy in this process, by NVIDIA's package: ``cosmos-policy:FOLDER``.

Its functions and settings are those of NVlabs/cosmos-policy: ``get_model``, ``load_dataset_stats``, ``get_action`` of
cosmos_policy/experiments/robot/cosmos_utils.py, with the values that LIBERO.md and ROBOCASA.md there evaluate with. The
package needs an environment of its own, see docs/policies.md.

A checkpoint is a folder on this machine: the package would fetch what looks like a name on Hugging Face, T5-11B for an
instruction that it does not know, and unpickle both. Here nothing is fetched, and the embeddings, published as a
pickle, are read as tensors and nothing else. The weights are read by the package, as PyTorch's checkpoints are: use
those of people whom you trust.
"""

from __future__ import annotations

import importlib
import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError, MissingExtraError, RunError, printable
from world2act_core.policies.address import path_with_options
from world2act_core.policies.mapping import STILL_PROMPT, ModelMapping, load_mapping
from world2act_core.policies.protocol import Policy
from world2act_core.rotations import multiply, rotate
from world2act_core.types import LONGEST_CHUNK, ActionChunk, Array, Observation

OPTIONS = ("config", "embeddings", "mapping", "seed", "stats", "steps")
SEED, DENOISING_STEPS = 195, 5
"""What LIBERO.md and ROBOCASA.md evaluate with."""
PROPRIO, BASE = "proprio", "base"
"""State keys of the mapping: gripper (2), hand's position (3) and orientation (4); and, where these are as seen from a
base that moves, its pose, which is not the package's."""
_FAULTS = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, AssertionError, OSError, ImportError)
"""What the package may die of: it checks its inputs with assert, and without a GPU dies of whatever comes first."""


@dataclass(frozen=True)
class Settings:
    """What the package reads of its evaluations' ``PolicyEvalConfig``, under its names."""

    suite: str
    config: str
    chunk_size: int
    num_third_person_images: int
    ckpt_path: str = ""
    config_file: str = "cosmos_policy/config/config.py"  # looked up as a module, wherever the package lies
    use_third_person_image: bool = True
    use_wrist_image: bool = True
    num_wrist_images: int = 1
    use_proprio: bool = True
    normalize_proprio: bool = True
    unnormalize_actions: bool = True
    trained_with_image_aug: bool = True
    use_jpeg_compression: bool = True
    flip_images: bool = False  # ours are upright
    use_variance_scale: bool = False

    @property
    def published(self) -> str:
        """The suite as NVIDIA's checkpoints on Hugging Face spell it."""
        return {"libero": "LIBERO", "robocasa": "RoboCasa"}[self.suite]


SETTINGS = {
    "libero_panda": Settings("libero", "cosmos_predict2_2b_480p_libero__inference_only", 16, 1),
    "panda_omron": Settings("robocasa", "cosmos_predict2_2b_480p_robocasa_50_demos_per_task__inference", 32, 2),
}
"""Embodiment → how NVIDIA evaluates there."""


class CosmosPackagePolicy(Policy):
    """A loaded checkpoint.

    Args:
        package: the module ``cosmos_utils``.
        loaded: model and its configuration, as ``get_model`` gives them.
        stats: of the data that it was trained on, as ``load_dataset_stats`` gives them.
        settings: as above.
        mapping: of the package's keys.
        seed, steps: of the denoising; the same observation gives the same chunk.

    Raises:
        ContractError: its chunks do not fit the embodiment.
        RunError: the package cannot act here.
    """

    def __init__(
        self,
        package: ModuleType,
        loaded: tuple[Any, Any],
        stats: dict[str, Array],
        settings: Settings,
        mapping: ModelMapping,
        *,
        seed: int = SEED,
        steps: int = DENOISING_STEPS,
    ) -> None:
        self._package, (self._model, _), self._stats, self._settings = package, loaded, stats, settings
        self.mapping, self._seed, self._steps, self.embodiment = mapping, seed, steps, mapping.embodiment
        self.cameras = tuple(entry.camera for entry in mapping.images.values())
        parts = [part for entry in mapping.state.values() for part in entry.parts]
        self.streams = tuple(dict.fromkeys(part.stream for part in parts))
        self.horizon = settings.chunk_size
        self.metadata = {
            "library": "cosmos-policy",
            "checkpoint": settings.ckpt_path,
            "suite": settings.suite,
            "seed": seed,
            "denoising_steps": steps,
            "images": mapping.frame_sizes(),
        }
        if not self.embodiment.chunk_length <= self.horizon <= LONGEST_CHUNK:
            raise ContractError(
                f"Cosmos Policy gives chunks of {self.horizon} steps, but {self.embodiment.name} executes "
                f"{self.embodiment.chunk_length} and takes at most {LONGEST_CHUNK}"
            )
        self.act(mapping.still(), STILL_PROMPT)  # whatever does not fit is found before anything moves

    def reset(self) -> None:
        return

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        """The next chunk.

        Raises:
            ContractError: the checkpoint's embeddings hold no such instruction, or its actions are not the robot's.
            RunError: the package failed.
        """
        shown: dict[str, Any] = {key: self.mapping.encode_image(key, observation.images) for key in self.mapping.images}
        shown |= {key: self.mapping.encode_state(key, observation.state) for key in self.mapping.state}
        if BASE in shown:
            shown[PROPRIO] = in_world(shown[PROPRIO], shown.pop(BASE))
        known = self._package.t5_text_embeddings_cache
        if prompt == STILL_PROMPT and prompt not in known:
            said = next(iter(known))  # asked only to see what an answer looks like
        elif prompt in known:
            said = prompt
        else:
            script = f"cosmos_policy.datasets.save_{self._settings.suite}_t5_text_embeddings"
            raise ContractError(
                f"the checkpoint's text embeddings hold no instruction {prompt!r}, but {len(known)} others such as "
                f"{next(iter(known))!r}: make them with the package's {script} and name the file, ?embeddings=FILE"
            )
        try:
            answer = self._package.get_action(
                self._settings, self._model, self._stats, shown, said,
                seed=self._seed, num_denoising_steps_action=self._steps,
                generate_future_state_and_value_in_parallel=False,  # decoded from the same sample: changes no action
            )  # fmt: skip
            chunk = np.asarray(answer["actions"], np.float32)
        except _FAULTS as error:
            raise RunError(f"Cosmos Policy's package cannot act: {_reason(error)}{_without_gpu()}") from error
        if chunk.ndim != 2 or len(chunk) != self.horizon:
            raise ContractError(f"Cosmos Policy answered actions of shape {chunk.shape}, not {self.horizon} steps")
        return ActionChunk(self.mapping.decode_actions({"actions": chunk}), observation.stamp, prompt)


def open_cosmos_package(reference: str, embodiment: Embodiment) -> CosmosPackagePolicy:
    """``FOLDER`` or ``FOLDER?seed=195&steps=5`` → policy.

    Raises:
        MissingExtraError: the package is not installed here.
        ContractError: there is no mapping for the embodiment, or the policy does not fit it.
        RunError: the folder is no checkpoint, or the package cannot load it.
    """
    named, options = path_with_options("cosmos-policy", reference, OPTIONS)
    if embodiment.name not in SETTINGS:
        raise ContractError(f"Cosmos Policy was evaluated for {' and '.join(SETTINGS)}, not for {embodiment.name}")
    mapping = load_mapping("cosmos_policy", embodiment, options.get("mapping", ""))
    seed, steps = (_number(name, options, default) for name, default in (("seed", SEED), ("steps", DENOISING_STEPS)))
    folder = Path(named)
    if not folder.is_dir():
        raise RunError(
            f"there is no folder {named}: fetch the checkpoint first, "
            f"hf download nvidia/Cosmos-Policy-{SETTINGS[embodiment.name].published}-Predict2-2B --local-dir FOLDER"
        )
    package = _imported()
    stats = _file(folder, options.get("stats", ""), "*_dataset_statistics.json", "stats")
    embeddings = _file(folder, options.get("embeddings", ""), "*_t5_embeddings.pkl", "embeddings")
    package.t5_text_embeddings_cache.update(read_embeddings(embeddings))
    usual = SETTINGS[embodiment.name]
    settings = replace(usual, config=options.get("config", usual.config), ckpt_path=str(_weights(folder)))
    try:
        loaded = package.get_model(settings)
        known = package.load_dataset_stats(str(stats))  # absolute: of others it asks Hugging Face
    except _FAULTS as error:
        raise RunError(f"Cosmos Policy's package cannot load {named}: {_reason(error)}{_without_gpu()}") from error
    return CosmosPackagePolicy(package, loaded, known, settings, mapping, seed=seed, steps=steps)


def in_world(proprio: Array, base: Array) -> Array:
    """Gripper and hand's pose ``(9,)`` as seen from a base, whose pose ``(7,)`` is in the world → in the world."""
    place, orientation = base[:3], base[3:]
    position = place + rotate(orientation, proprio[2:5])
    return np.concatenate([proprio[:2], position, multiply(orientation, proprio[5:])]).astype(np.float32)


def read_embeddings(file: Path) -> dict[str, Any]:
    """Instruction → T5's embedding, a tensor ``(1, 512, 1024)``, of the pickle that comes with a checkpoint.

    Raises:
        RunError: it holds anything else, which is not made.
    """
    try:
        with file.open("rb") as stream:
            held = _Tensors(stream).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, ValueError, OSError) as error:
        raise RunError(f"{file} holds no text embeddings: {_reason(error)}") from error
    if not isinstance(held, dict) or not held or not all(isinstance(key, str) for key in held):
        raise RunError(f"{file} holds no text embeddings, which are a map from instruction to tensor")
    return held


class _Tensors(pickle.Unpickler):
    """Makes maps, texts, numbers and tensors; refuses everything else that a pickle may ask for."""

    def find_class(self, module: str, name: str) -> Any:
        import torch

        def storage(data: bytes) -> Any:
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)

        allowed = {
            ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
            ("torch.storage", "_load_from_bytes"): storage,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no tensor needs")
        return allowed[module, name]


def _imported() -> ModuleType:
    try:
        package = importlib.import_module("cosmos_policy.experiments.robot.cosmos_utils")
    except (ImportError, RuntimeError, TypeError, AttributeError, OSError) as missing:  # beside what it does not fit
        raise MissingExtraError(
            f"Cosmos Policy's package cannot be imported here ({_reason(missing)}): it needs an environment of its own "
            f"(github.com/NVlabs/cosmos-policy, SETUP.md), from which 'world2act serve --policy cosmos-policy:...' "
            f"serves its policies (docs/policies.md)"
        ) from missing
    if package.ACTION_DIM != 7:
        raise RunError(
            "Cosmos Policy's package took this for ALOHA, because it looks for that word in the command line: call the "
            "folder something else"
        )
    return package


def _weights(folder: Path) -> Path:
    """What ``get_model`` wants, as the package finds it in a published checkpoint: ``model/``, a ``.pt``, the folder.

    Absolute, because the package takes ``a/b`` for a name on Hugging Face.
    """
    folder = folder.resolve()
    single = sorted(folder.glob("*.pt"))
    return folder / "model" if (folder / "model").is_dir() else single[0] if single else folder


def _file(folder: Path, named: str, pattern: str, option: str) -> Path:
    found = [Path(named)] if named else sorted(folder.glob(pattern))
    if len(found) != 1 or not found[0].is_file():
        raise RunError(f"{folder} has {len(found) if not named else 'no'} {named or pattern}: name one, ?{option}=FILE")
    return found[0].resolve()


def _number(name: str, options: dict[str, str], default: int) -> int:
    text = options.get(name, str(default))
    if not text.isdigit() or not 0 < int(text) < 2**31:
        raise RunError(f"cosmos-policy: {name}={text!r} must be a whole number from 1")
    return int(text)


def _reason(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}".rstrip(": "))


def _without_gpu() -> str:
    import torch

    return "" if torch.cuda.is_available() else " (it runs on an NVIDIA GPU only, and PyTorch finds none here)"
