"""The base that post-training on logs is given: a compact policy's file, or any policy by its address, which is asked
once at every chunk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.episodes.chunks import skill_at
from world2act_core.errors import ContractError, MissingExtraError, PolicyServerError, World2ActError
from world2act_core.policies.protocol import Policy
from world2act_core.recipes.stage_files import BASE_ADDRESS, POLICY
from world2act_core.residual.bases import (
    BaseAddress,
    absolute,
    base_of_run,
    compact_file,
    open_base,
    open_named,
    read_base_address,
)
from world2act_core.runs.stage import MANIFEST, read_stage, write_text
from world2act_core.types import Array, Episode, Observation


@dataclass(frozen=True)
class AskedBase:
    """A base behind an address.

    Attributes:
        named: what a run keeps of it.
        there: the policy, or why it cannot be reached now.
    """

    named: BaseAddress
    there: Policy | World2ActError

    def policy(self) -> Policy:
        """To be asked.

        Raises:
            World2ActError: it cannot be reached.
        """
        if isinstance(self.there, World2ActError):
            raise self.there
        return self.there

    def close(self) -> None:
        if not isinstance(self.there, World2ActError):
            self.there.close()


def given_base(base: str, embodiment: Embodiment, run: Path, announce: Callable[[str], None]) -> Path | AskedBase:
    """What ``--base`` names: the file of a compact policy, or a policy to ask.

    Args:
        run: folder of the run; where it kept what this base said, a server need not be there any more.

    Raises:
        World2ActError: there is no such policy, or nothing tells which one it is.
    """
    file = compact_file(base)
    if file is not None:
        return file
    if ":" not in base:
        raise World2ActError(
            f"--base {base} is not a file: name that of the policy, as RUN/base/{POLICY}, or the address of any policy"
        )
    before = base_of_run(base)
    address = absolute(base) if before is None else before.address
    if address == f"run:{run.resolve()}":
        raise World2ActError(f"--base {base} is what is to be made: a run cannot be its own base")
    try:
        opened = open_base(address, embodiment) if before is None else open_named(before, embodiment)
        policy = opened.open()
    except (PolicyServerError, MissingExtraError) as absent:
        return _kept(address, run, absent, announce)
    cameras = tuple(name for name in embodiment.cameras if name in policy.cameras)
    return AskedBase(BaseAddress(address, opened.identity, cameras, opened.mapping), policy)


def _kept(address: str, run: Path, absent: World2ActError, announce: Callable[[str], None]) -> AskedBase:
    """What the run knows of a base that is not there now."""
    file = run / "base" / BASE_ADDRESS
    if not (file.is_file() and (file.parent / MANIFEST).is_file()):
        raise absent
    read_stage(file.parent)
    named = read_base_address(file)
    if named.address != address:
        raise absent
    announce(f"{absent}; going on with what it answered before")
    return AskedBase(named, absent)


def ask(
    policy: Policy, episodes: Iterable[Episode], embodiment: Embodiment, kept: Path, label: str, chunks: int
) -> Array:
    """What a policy would do at every chunk of logged episodes, ``(N, M, A)`` float32 in range.

    It is asked as on the robot: chunk after chunk of one episode, with the prompt that was being carried out as the
    episode tells it, and told where an episode begins. A policy that draws its actions is asked once.

    Args:
        episodes: in the order of the table that the answers are for.
        kept: folder for the answers so far, an episode a file: after a kill only the rest is asked.
        label: of the progress bar.
        chunks: how many there are.

    Raises:
        World2ActError: it gives no answer, or one that does not fit.
    """
    from tqdm import tqdm

    kept.mkdir(exist_ok=True)
    answers: list[Array] = []
    with tqdm(total=chunks, desc=label, unit=" chunks", mininterval=0.5, disable=None, dynamic_ncols=True) as bar:
        for number, episode in enumerate(episodes):
            file = kept / f"{number}.json"
            if not file.is_file():
                write_text(file, json.dumps(_at_each_chunk(policy, episode, embodiment, bar.update).tolist()))
            else:
                bar.update(sum(1 for _ in episode.chunk_starts(embodiment.chunk_length)))
            answers.append(np.asarray(json.loads(file.read_text()), np.float32))
    return np.concatenate(answers)


def _at_each_chunk(policy: Policy, episode: Episode, embodiment: Embodiment, done: Callable[[], object]) -> Array:
    m = embodiment.chunk_length
    row_of_step = {int(step): row for row, step in enumerate(episode.frame_steps)}
    policy.reset()
    chunks = []
    for step in episode.chunk_starts(m):
        images = {name: frames[row_of_step[step]] for name, frames in episode.images.items()}
        state = {name: rows[step] for name, rows in episode.state.items()}
        observation = Observation(float(episode.stamps[step]), images, state)
        chunk = policy.act(observation, skill_at(episode, step).prompt)
        if chunk.actions.shape[0] < m or chunk.actions.shape[1:] != (embodiment.action.size,):
            raise ContractError(
                f"the base answered a chunk of shape {chunk.actions.shape} at step {step} of {episode.episode_id}: "
                f"expected at least {m} steps of {embodiment.action.size}"
            )
        chunks.append(embodiment.clamp(chunk.actions[:m]))
        done()
    return np.stack(chunks)
