"""Fine-tunes tiny weights as a process of its own: ``finetune_run.py RUN CACHE WEIGHTS METHOD BATCH [MOMENT]``.

With MOMENT it ends there by SIGKILL, which no code can answer: ``step-N`` is the beginning of that step, ``save-N`` the
moment at which checkpoint N is written but has not got its name. With MOMENT ``sharded`` the weights are sharded over
the processes that torchrun has started (FSDP).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.world_model.cosmos_scene import Lenient
from tests.world_model.finetune_scene import QUICK
from world2act_core.world_model.cosmos.finetune import checkpoint, train


def die_at(moment: bool) -> None:
    if moment:
        os.kill(os.getpid(), signal.SIGKILL)


def shard() -> None:
    """What ``accelerate launch`` makes of an fsdp_config; accelerate itself shards on accelerators only."""
    from accelerate.state import DistributedType, PartialState

    os.environ |= {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_TRANSFORMER_CLS_TO_WRAP": "CosmosTransformerBlock",
    }
    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def main() -> None:
    run, cache, weights = map(Path, sys.argv[1:4])
    settings = replace(QUICK, method=sys.argv[4], batch=int(sys.argv[5]))
    moment = sys.argv[6] if len(sys.argv) > 6 else ""
    torch.set_num_threads(1)
    if moment == "sharded":
        shard()
    draw, rename = train.draw_batch, os.replace

    def draw_or_die(clips: Any, settings: Any, step: int) -> Any:
        die_at(moment == f"step-{step}")
        return draw(clips, settings, step)

    def rename_or_die(source: Any, target: Any) -> None:
        die_at(moment.startswith("save-") and Path(target).name == f"step-{int(moment[5:]):08d}")
        rename(source, target)

    patches: list[tuple[Any, str, Callable[..., Any]]] = [
        (train, "draw_batch", draw_or_die),
        (checkpoint.os, "replace", rename_or_die),
    ]
    for module, name, function in patches:
        mock.patch.object(module, name, function).start()
    train.finetune(run, cache, weights, settings, safety_checker=Lenient())


if __name__ == "__main__":
    main()
