"""Checkpoints of a run that several processes share, from which it goes on exactly.

Torch's distributed checkpoints hold what is trained, its optimiser and its average, whether each process has all of it
or, under FSDP, a part. A checkpoint is a folder that gets its name when it is complete, and the one before goes after:
a kill leaves one or the other.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from world2act_core.world_model.cosmos.finetune.weights import trained

_TRAINED = StateDictOptions(ignore_frozen_params=True, strict=False)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: of checkpoints.
        accelerator: ``accelerate.Accelerator``.
        transformer, optimizer: as ``accelerator.prepare`` gave them.
        average: diffusers' ``EMAModel`` of the trained weights, or None.
    """

    def __init__(self, folder: Path, accelerator: Any, transformer: nn.Module, optimizer: Any, average: Any) -> None:
        self.folder, self.accelerator = folder, accelerator
        self.transformer, self.optimizer, self.average = transformer, optimizer.optimizer, average
        self._alone = accelerator.num_processes == 1

    def save(self, step: int) -> None:
        """Keep the state before step ``step``, and no older one. All processes call this."""
        partial = self.folder / "partial"
        if self.accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)  # left by a kill
            partial.mkdir(parents=True)
        self.accelerator.wait_for_everyone()
        with _quiet():
            dcp.save(self._state(), checkpoint_id=partial, no_dist=self._alone)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            before = self._complete()
            os.replace(partial, self.folder / f"step-{step:08d}")
            for old in before:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def load(self) -> int:
        """Go on from the newest checkpoint; the step to go on with, 0 without one. All processes call this."""
        complete = self._complete()
        if not complete:
            return 0
        state = self._state()
        with _quiet():
            dcp.load(state, checkpoint_id=complete[-1], no_dist=self._alone)
        set_model_state_dict(self.transformer, state["weights"], options=_TRAINED)
        set_optimizer_state_dict(self.transformer, self.optimizer, state["optimizer"], options=_TRAINED)
        step = int(complete[-1].name.split("-")[1])
        if self.average is not None:
            self.average.optimization_step = step
        return step

    def _complete(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))

    def _state(self) -> dict[str, Any]:
        """Tensors that are, or on loading become, the state: by name, so that another number of processes can load."""
        state = {
            "weights": get_model_state_dict(self.transformer, options=_TRAINED),
            "optimizer": get_optimizer_state_dict(self.transformer, self.optimizer, options=_TRAINED),
        }
        if self.average is not None:
            names = trained(self.accelerator.unwrap_model(self.transformer))
            state["average"] = dict(zip(names, self.average.shadow_params, strict=True))
        return state


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch warns of a single process although it was told so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield


def whole_weights(transformer: nn.Module) -> dict[str, Any]:
    """The trained weights, tensors by name, gathered on the main process's CPU; others get nothing. All call this."""
    options = StateDictOptions(ignore_frozen_params=True, full_state_dict=True, cpu_offload=True)
    return get_model_state_dict(transformer, options=options)
