"""The fine-tuning loop: one process or several, an adapter or all weights, and the same result after a kill.

Sharding over GPUs (FSDP) is a matter of accelerate's configuration. Order matters there and is kept here: adapter and
gradient checkpointing first, then the optimiser over the trained weights, then both through one ``prepare``, and only
then the average and the checkpoints, which see the weights as they are sharded.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from world2act_core.errors import MissingExtraError, RunError, World2ActError
from world2act_core.runs import Run, file_digest
from world2act_core.runs.stage import versions, write_json
from world2act_core.world_model.cosmos.finetune.batches import Draw, draw_batch, fixed_draws, load_batch, split
from world2act_core.world_model.cosmos.finetune.cache import LatentCache
from world2act_core.world_model.cosmos.finetune.checkpoint import Checkpoints, whole_weights
from world2act_core.world_model.cosmos.finetune.encoder import fingerprint
from world2act_core.world_model.cosmos.finetune.objective import flow_losses
from world2act_core.world_model.cosmos.finetune.settings import FinetuneSettings
from world2act_core.world_model.cosmos.finetune.validation import Screen, Validation, noise_levels
from world2act_core.world_model.cosmos.finetune.weights import averaged, make_trainable, save_finetuned, trained
from world2act_core.world_model.cosmos.guardrail import Guardrail, SafetyChecker, nvidia_guardrail
from world2act_core.world_model.cosmos.parts import LICENCE, load_part

STARTED, MANIFEST, LOG = "started.json", "manifest.json", "log.jsonl"


def finetune(
    run: Path,
    cache_folder: Path,
    weights: str | Path,
    settings: FinetuneSettings,
    safety_checker: SafetyChecker | None = None,
) -> Path:
    """Fine-tune on a cache of skill clips; goes on from the run's last checkpoint, does nothing if it is finished.

    Every process that accelerate has started calls this with the same arguments.

    Args:
        run: takes ``log.jsonl`` and ``validation/``, checkpoints while it runs, in the end ``lora/`` or
            ``transformer/`` and ``manifest.json``.
        cache_folder: what ``cache.build_cache`` wrote.
        weights: the base, as in ``parts.load_parts``.
        settings: numbers.
        safety_checker: in place of NVIDIA's guardrail, through which every imagined video goes; for weights that are
            not NVIDIA's and do not derive from them.

    Returns:
        ``run``, which ``weights.load_finetuned`` reads.

    Raises:
        MissingExtraError: the extra ``cosmos``, or NVIDIA's guardrail, is not installed.
        RunError: the run was started with other settings, clips or weights; the cache is unfinished.
        World2ActError: the weights are not there, settings do not suit the processes, or training diverged.
    """
    cache, accelerator = LatentCache(cache_folder), make_accelerator(settings)
    _held = Run(run) if accelerator.is_main_process else None  # till the end nobody else works in this folder
    _claim(run, {**asdict(settings), "weights": str(weights), "clips": cache.digest}, accelerator)
    if (run / MANIFEST).exists():
        return run
    # A frozen base is kept in the precision it is used in; under FSDP, weights that are sharded together are alike.
    sharded = accelerator.distributed_type == "FSDP"
    frozen = network_precision(settings) if settings.method == "lora" and not sharded else torch.float32
    transformer = load_part(weights, "transformer", dtype=frozen, device="cpu")
    _claim(run, {"base": fingerprint(transformer)}, accelerator)
    scheduler = load_part(weights, "scheduler", dtype=torch.float32, device="cpu")
    screen = None
    if accelerator.is_main_process:
        guardrail = Guardrail(safety_checker) if safety_checker is not None else nvidia_guardrail()
        vae = load_part(weights, "vae", dtype=network_precision(settings), device=accelerator.device)
        screen = Screen(run / "validation", vae, guardrail, round(_fps(cache)))
    Trainer(run, cache, transformer, scheduler, screen, settings, accelerator).train()
    return run


def make_accelerator(settings: FinetuneSettings) -> Any:
    """Accelerate as it was configured, with this run's precision and as many micro-batches a step as the batch needs.

    Raises:
        MissingExtraError: the extra ``cosmos`` is not installed.
        World2ActError: the batch cannot be shared evenly, or FSDP is configured in its first version.
    """
    for package in ("accelerate", "diffusers", "peft"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f"fine-tuning Cosmos needs {package}: install the extra that brings it, pip install 'world2act[cosmos]'"
            )
    from accelerate import Accelerator

    accelerator = Accelerator(mixed_precision="bf16" if settings.precision == "bf16" else "no")
    at_once = settings.micro_batch * accelerator.num_processes
    if settings.batch % at_once:
        raise World2ActError(
            f"batch = {settings.batch} cannot be shared by {accelerator.num_processes} processes of "
            f"{settings.micro_batch} clips each: make it a multiple of {at_once}"
        )
    if accelerator.distributed_type == "FSDP" and not accelerator.is_fsdp2:
        raise World2ActError(
            "accelerate is configured for FSDP's first version: put fsdp_version: 2 in its fsdp_config"
        )
    accelerator.gradient_accumulation_steps = settings.batch // at_once
    return accelerator


def network_precision(settings: FinetuneSettings) -> torch.dtype:
    """What the network reads and computes in."""
    return torch.bfloat16 if settings.precision == "bf16" else torch.float32


class Trainer:
    """One run in one process; arguments as in `finetune`, and ``screen`` on the main process only."""

    def __init__(
        self,
        run: Path,
        cache: LatentCache,
        transformer: Any,
        scheduler: Any,
        screen: Screen | None,
        settings: FinetuneSettings,
        accelerator: Any,
    ) -> None:
        self.run, self.cache, self.settings, self.accelerator = run, cache, settings, accelerator
        self.precision, self.fps = network_precision(settings), _fps(cache)
        self.clips, held_out = split(cache.clips, settings.held_out)
        draws, sigmas = fixed_draws(held_out, settings), noise_levels(scheduler, settings.sampling_steps)
        self.validation = Validation(cache, draws, sigmas, screen, accelerator.device, self.fps, self.precision)

        make_trainable(transformer, settings)
        # Betas as in NVIDIA's recipe (configs/base/defaults/optimizer.py).
        optimizer = torch.optim.AdamW(
            trained(transformer).values(),
            lr=settings.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=settings.weight_decay,
        )
        self.transformer, self.optimizer = accelerator.prepare(transformer, optimizer)
        self.parameters = list(trained(self.transformer).values())
        self.average = self._average() if settings.ema_decay else None
        self.checkpoints = Checkpoints(run / "checkpoints", accelerator, self.transformer, self.optimizer, self.average)

    def _average(self) -> Any:
        from diffusers.training_utils import EMAModel

        return EMAModel(self.parameters, decay=self.settings.ema_decay)

    def train(self) -> None:
        """From the last checkpoint, or the beginning, to the manifest."""
        settings, first = self.settings, self.checkpoints.load()
        self._cut_log(first)
        if first == 0:
            self._look(0)
        bar = tqdm(total=settings.steps, initial=first, desc="fine-tuning", unit="step", dynamic_ncols=True,
                   disable=not self.accelerator.is_main_process)  # fmt: skip
        for step in range(first, settings.steps):
            figures = self._step(step)
            self._log({"step": step, **figures})
            bar.set_postfix({name: f"{value:.3g}" for name, value in figures.items()})
            bar.update()
            done = step + 1
            if done % settings.validate_every == 0 or done == settings.steps:
                self._look(done)
            if done % settings.checkpoint_every == 0 or done == settings.steps:
                self.checkpoints.save(done)
        bar.close()
        self._finish()

    def _step(self, step: int) -> dict[str, float]:
        """One optimiser step; its figures."""
        rate = self.settings.learning_rate * schedule(step, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = torch.zeros((), device=self.accelerator.device)
        for draws in self._share(draw_batch(self.clips, self.settings, step)):
            with self.accelerator.accumulate(self.transformer):
                batch = load_batch(self.cache, draws, self.accelerator.device)
                micro_loss = flow_losses(self.transformer, batch, self.fps, self.precision).mean()
                self.accelerator.backward(micro_loss)
                if self.accelerator.sync_gradients:
                    norm = self.accelerator.clip_grad_norm_(self.transformer.parameters(), self.settings.clip_norm)
                    self._refuse_divergence(norm, step)
                self.optimizer.step()
                self.optimizer.zero_grad()
            loss += micro_loss.detach() / self.accelerator.gradient_accumulation_steps
        if self.average is not None:
            self.average.step(self.parameters)
        loss = self.accelerator.reduce(loss, "mean")
        return {"loss": float(loss), "learning_rate": rate, "gradient_norm": float(norm)}

    def _share(self, draws: list[Draw]) -> Iterator[list[Draw]]:
        """This process's micro-batches of a step."""
        size, processes = self.settings.micro_batch, self.accelerator.num_processes
        for begin in range(self.accelerator.process_index * size, len(draws), processes * size):
            yield draws[begin : begin + size]

    def _refuse_divergence(self, norm: torch.Tensor, step: int) -> None:
        if not torch.isfinite(norm):
            raise World2ActError(
                f"training diverged at step {step} (the gradient is {float(norm)}): start again in another folder with "
                "a smaller learning_rate or a longer warmup"
            )

    def _look(self, step: int) -> None:
        """Validate the averaged weights."""
        with averaged(self.average, self.transformer):
            figures = self.validation.look(self.transformer, step)
        self._log({"after_steps": step, **figures})

    def _log(self, record: dict[str, float]) -> None:
        if self.accelerator.is_main_process:
            with (self.run / LOG).open("a") as file:
                file.write(json.dumps(record) + "\n")

    def _cut_log(self, first: int) -> None:
        """Forget what was logged of steps that are done again, and a line that a kill left half written."""
        if self.accelerator.is_main_process:
            kept = [] if first == 0 else [r for r in read_log(self.run) if _done(r) <= first]
            (self.run / LOG).write_text("".join(json.dumps(record) + "\n" for record in kept))

    def _finish(self) -> None:
        """Write the weights, seal the run, drop the checkpoints."""
        with averaged(self.average, self.transformer):
            state = whole_weights(self.transformer)  # on a CPU these are the weights themselves, not copies
            if self.accelerator.is_main_process:
                save_finetuned(self.run, self.accelerator.unwrap_model(self.transformer), state, self.settings)
        if self.accelerator.is_main_process:
            write_json(self.run / MANIFEST, self._manifest())
            shutil.rmtree(self.checkpoints.folder)
        self.accelerator.wait_for_everyone()

    def _manifest(self) -> dict[str, Any]:
        written = [path for path in sorted(self.run.rglob("*.safetensors")) if path.parent.parent == self.run]
        packages = ("diffusers", "transformers", "accelerate", "peft")
        return {
            **json.loads((self.run / STARTED).read_text()),
            "encoders": self.cache.identity,
            "clips_trained_on": len(self.clips),
            "processes": self.accelerator.num_processes,
            "metrics": {key: value for record in read_log(self.run) for key, value in record.items()},
            "outputs": {str(path.relative_to(self.run)): file_digest(path) for path in written},
            "versions": {**versions(), **{package: metadata.version(package) for package in packages}},
            "licence": f"Derived from the weights named here. NVIDIA's Cosmos-Predict2 is under the {LICENCE}, which "
            "binds what is derived from it too.",
        }


def _fps(cache: LatentCache) -> float:
    """Frames a second that the network is told: the control rate, as ``CosmosWorldModel`` tells it."""
    return float(cache.identity["control_rate_hz"])


def schedule(step: int, settings: FinetuneSettings) -> float:
    """Share of the learning rate: linear warm-up, then linear to zero."""
    return min(1.0, (step + 1) / max(1, settings.warmup)) * (1 - step / settings.steps)


def read_log(run: Path) -> list[dict[str, float]]:
    """The whole lines of a run's log: one a training ``step``, and one a look at held-out clips, ``after_steps``."""
    if not (run / LOG).exists():
        return []
    return [json.loads(line) for line in (run / LOG).read_text().splitlines(keepends=True) if line.endswith("\n")]


def _done(record: dict[str, float]) -> float:
    """How many steps were done when a line was logged."""
    return record["after_steps"] if "after_steps" in record else record["step"] + 1


def _claim(run: Path, asked: dict[str, Any], accelerator: Any) -> None:
    """Write down what a run is of, or compare with what it was started with."""
    path, asked = run / STARTED, json.loads(json.dumps(asked))
    started = json.loads(path.read_text()) if path.exists() else {}
    for key, value in asked.items():
        if started.get(key, value) != value:
            raise RunError(f"{run} was started with {key} = {started[key]!r}, not {value!r}: name another folder")
    accelerator.wait_for_everyone()  # nobody reads what is being written
    if accelerator.is_main_process:
        run.mkdir(parents=True, exist_ok=True)
        write_json(path, {**started, **asked})
