"""One update of Stage 2's residual against one rank-32 LoRA update of the same base, same objective, same batch.

Run: ``python -m benchmarks.residual_update [--threads 1] [--turns 5] [--batch 16] [--rank 32]``; needs the extra
``cosmos`` (transformers, peft). The base stands for a VLA: a Llama decoder from a random configuration over image
tokens, a proprioception token and action queries. Its weights and the data are random; speed does not depend on them.

*Residual*: the base's actions were computed once beforehand, which is how Stage 2 works: its rows are drawn again and
again, the base never runs. An update is what ``train_residual`` does in a step. Since the base must have acted once for
every row, a second figure adds a forward pass of the base to every update, as if no row were ever drawn twice.

*LoRA*: ``baselines.finetuning``, adapters in every linear layer; forward and backward through the base.

The three take turns, so that another load of the machine meets all alike. Medians over the turns; the ratio is that of
CPU time (the median of the turns' ratios), which another load hardly touches. Peak memory is the process's, so each
figure contains those above it, and all contain the base and a copy of it.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks._machine import machine, version
from world2act_core.alignment.adapters import AdapterConfig, Alignment
from world2act_core.baselines.finetuning import FinetuningConfig, adapted, update_losses
from world2act_core.networks.blocks import to_float
from world2act_core.networks.codec import PatchCodec
from world2act_core.residual.network import Residual, ResidualConfig
from world2act_core.residual.train import Objective, PostTrainingSet, Stage2Config
from world2act_core.runs.training import Losses

SIZE, VIEWS, PATCH = 64, 2, 16
M, A, P = 4, 7, 18


class TransformerBase(nn.Module):
    """Frames uint8 ``(B, S, V S, 3)`` and proprioception ``(B, P)`` → action chunk ``(B, M, A)``."""

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        from transformers import LlamaConfig, LlamaModel

        config = LlamaConfig(
            vocab_size=1,  # what it reads are embeddings
            hidden_size=hidden,
            intermediate_size=hidden * 8 // 3,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 64,
            bos_token_id=None,
            eos_token_id=None,
            use_cache=False,
        )
        self.patches = nn.Linear(3 * PATCH * PATCH, hidden)
        self.proprio = nn.Linear(P, hidden)
        self.queries = nn.Parameter(0.02 * torch.randn(M, hidden))
        self.body = LlamaModel(config)
        self.head = nn.Linear(hidden, A)

    def forward(self, frames: torch.Tensor, proprio: torch.Tensor) -> torch.Tensor:
        patches = nn.functional.unfold(to_float(frames), PATCH, stride=PATCH).mT  # (B, tokens, 3 p p)
        queries = self.queries.expand(len(frames), -1, -1)
        tokens = torch.cat([self.patches(patches), self.proprio(proprio)[:, None], queries], 1)
        return self.head(self.body(inputs_embeds=tokens).last_hidden_state[:, -M:])


def random_set(base: TransformerBase, rows: int, size: int) -> PostTrainingSet:
    """Rollouts of four chunks each, and what the base does there."""
    frames = torch.randint(0, 256, (rows, SIZE, VIEWS * SIZE, 3), dtype=torch.uint8)
    proprio = torch.randn(rows, P)
    with torch.no_grad():
        acted = base(frames, proprio)
    return PostTrainingSet(frames, proprio, acted, torch.randn(rows, size), torch.arange(rows) // 4)


def updater(module: nn.Module, losses: Callable[[], Losses]) -> Callable[[], None]:
    """One step of training, as ``runs.training.fit`` makes it."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=1e-4)
    module.train()

    def update() -> None:
        terms = losses()
        optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()

    return update


def works(batch: int, rank: int) -> dict[str, Callable[[], None]]:
    """What is timed, by name; prints the sizes of what is trained."""
    torch.manual_seed(0)
    base = TransformerBase(hidden=640, layers=12).eval().requires_grad_(False)
    alignment = Alignment(AdapterConfig(chunk_length=M, actions=A))
    data = random_set(base, 2 * batch, alignment.config.size)
    span = (-torch.ones(A), torch.ones(A))
    objective = Objective(alignment, data, span, torch.ones(A), Stage2Config(batch=batch))
    codec = PatchCodec(SIZE, VIEWS)
    residual = Residual(ResidualConfig(), alignment, P, torch.ones(A, dtype=torch.bool), codec)
    lora = adapted(base, FinetuningConfig(rank=rank))
    rng = np.random.default_rng(0)

    def of_residual() -> Losses:
        rows = objective.draw(rng)
        return objective.losses(rows, residual(data.base[rows], data.proprio[rows], residual.see(data.frames[rows])))

    def run_base() -> None:
        rows = objective.draw(rng)
        with torch.no_grad():
            base(data.frames[rows], data.proprio[rows])

    def count(module: nn.Module) -> float:
        return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad) / 1e6

    frozen = sum(parameter.numel() for parameter in base.parameters()) / 1e6
    tokens = VIEWS * (SIZE // PATCH) ** 2 + 1 + M
    print(f"base: Llama of 12 layers, width 640, {frozen:.1f} M parameters, {tokens} tokens a sample; batch {batch}")
    print(f"trained: residual {count(residual):.2f} M parameters, LoRA of rank {rank} {count(lora):.2f} M")
    return {
        "residual update": updater(residual, of_residual),
        "forward pass of the base": run_base,
        "LoRA update": updater(lora, lambda: update_losses(lora, objective, objective.draw(rng))),
    }


def milliseconds(work: Callable[[], None], times: int) -> tuple[float, float]:
    """Of one call: passed, and of CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        work()
    return 1e3 * (time.perf_counter() - wall) / times, 1e3 * (time.process_time() - cpu) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rank", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine())
    print(f"transformers {version('transformers')}, peft {version('peft')}; {options.threads} thread(s)")
    timed = works(options.batch, options.rank)
    peak = {}
    for name, work in timed.items():
        work()  # to warm up
        peak[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    times = {"residual update": 20}  # of a few milliseconds each; the others take long enough
    turns = [
        {name: milliseconds(work, times.get(name, 1)) for name, work in timed.items()} for _ in range(options.turns)
    ]
    print(f"\n{'median of ' + str(options.turns) + ' turns':50}{'ms':>9}{'ms of CPU':>11}{'of LoRA':>9}{'peak MB':>9}")
    for label, parts in (
        ("residual update", ["residual update"]),
        ("residual update + forward pass of the base", ["residual update", "forward pass of the base"]),
        ("LoRA update", ["LoRA update"]),
    ):
        wall, cpu = (statistics.median(sum(turn[part][i] for part in parts) for turn in turns) for i in (0, 1))
        share = statistics.median(sum(turn[part][1] for part in parts) / turn["LoRA update"][1] for turn in turns)
        print(f"{label:50}{wall:9.1f}{cpu:11.1f}{100 * share:8.1f}%{peak[parts[-1]]:9.0f}")


if __name__ == "__main__":
    main()
