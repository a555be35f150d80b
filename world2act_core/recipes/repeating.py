"""A failed trial once more, from its folder: the same start, the same policy or the recorded actions, and whether the
outcome and the states repeat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from world2act_core.embodiment import load_embodiment
from world2act_core.episodes.reader import read_bag
from world2act_core.errors import RunError
from world2act_core.policies.identity import policy_identity
from world2act_core.policies.replay import ReplayPolicy
from world2act_core.recipes.evaluation import commit
from world2act_core.recipes.failures import BAG, Failure, state_digest
from world2act_core.recipes.suite import POLICY, RENDERING, SuiteTrial, suite_actor, whole_state
from world2act_core.runs.stage import versions
from world2act_core.simulators.rollout import Actor, PolicyActor, rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerContext, WorkerPool
from world2act_core.types import Episode


@dataclass(frozen=True)
class Repetition:
    """How a trial went the second time.

    Attributes:
        recorded, again: both episodes, without images.
        difference: where the states first differ, in words; "" if they are equal to the bit throughout.
        reached_alike: whether the whole physical state at the end is the same; None where it is not known.
        changed: what is not as it was: policy, versions, code; a sentence each.
    """

    recorded: Episode
    again: Episode
    difference: str
    reached_alike: bool | None
    changed: tuple[str, ...]

    @property
    def outcome_repeats(self) -> bool:
        return self.recorded.success == self.again.success

    @property
    def states_repeat(self) -> bool:
        return not self.difference and self.reached_alike is not False

    @property
    def repeats(self) -> bool:
        """Outcome and states do; where policy, versions or code have changed, the outcome is enough."""
        return self.outcome_repeats and (self.states_repeat or bool(self.changed))

    def __str__(self) -> str:
        words = {True: "solved", False: "not solved", None: "unknown"}
        was, now = (f"{words[one.success]} in {one.steps} steps" for one in (self.recorded, self.again))
        outcome = f"{self.recorded.start_id}: {was}, now {'as then' if was == now else now}"
        ending = {True: "; all objects too, at the end", False: "; but not the objects at the end", None: ""}
        states = f"states: {self.difference or f'equal to the bit at all {len(self.recorded.stamps)} steps'}"
        if not self.difference:
            states += ending[self.reached_alike]
        verdict = "repeats" if self.repeats else "does NOT repeat"
        notes = [f"note: {change}" for change in self.changed]
        return "\n".join([outcome, states, *notes, f"the trial {verdict}"])


@dataclass(frozen=True)
class _Job:
    failure: Failure
    from_bag: bool


def repeat_trial(failure: Failure, *, from_bag: bool = False) -> Repetition:
    """Run a failed trial again, in a worker.

    Args:
        from_bag: do what the bag recorded instead of asking the policy, which need not be there any more.

    Raises:
        World2ActError: the bag is damaged, or the policy cannot be opened.
    """
    recorded = recorded_episode(failure)
    with WorkerPool(1) as pool:
        (finished,) = pool.run(_again, [_Job(failure, from_bag)])
    again, reached = finished.result
    alike = reached == failure.reached if reached and failure.reached else None
    changed = tuple(_changes(failure, from_bag=from_bag))
    return Repetition(recorded, again, first_difference(recorded, again), alike, changed)


def recorded_episode(failure: Failure) -> Episode:
    """The episode in the folder's bag, without images.

    Raises:
        RunError: the bag does not hold exactly the one that ``trial.json`` speaks of.
    """
    contents = read_bag(failure.folder / BAG, load_embodiment(failure.embodiment), cameras=())
    if contents.damage is not None:
        raise contents.damage
    if [episode.start_id for episode in contents.episodes] != [failure.trial.start_id]:
        raise RunError(f"{failure.folder / BAG} does not hold the one episode from {failure.trial.start_id}")
    return contents.episodes[0]


def first_difference(one: Episode, other: Episode) -> str:
    """Where the states of two episodes first differ, in words; "" if they are equal to the bit."""
    steps = min(one.steps, other.steps) + 1
    found = []
    for name in sorted(one.state):
        unequal = np.flatnonzero((one.state[name][:steps] != other.state[name][:steps]).any(axis=1))
        if len(unequal):
            step = int(unequal[0])
            apart = float(np.abs(one.state[name][step] - other.state[name][step]).max())
            found.append((step, f"differ from step {step} on, {name} by {apart:.3g} there"))
    if found:
        return min(found)[1]
    return "" if one.steps == other.steps else f"equal up to step {steps - 1}, where one episode ends"


def _again(job: _Job, context: WorkerContext) -> tuple[Episode, str]:
    """The trial in a worker: its episode without images, and the digest of the state that it ends in."""
    failure, start = job.failure, Start.parse(job.failure.trial.start_id)
    size, rendering = failure.look["image_size"], failure.look["rendering"]
    replan = failure.look.get("replan", 0)  # not in folders of before
    simulator = context.simulator(start.suite, start.task, size or None, RENDERING[rendering])
    if job.from_bag:
        actor: Actor = PolicyActor(ReplayPolicy(recorded_episode(failure), simulator.embodiment))
    else:
        actor, _ = suite_actor(SuiteTrial(start, failure.policy, replan, size, rendering), simulator, context)
    episode = rollout(simulator, actor, start, episode_id=start.id, source=POLICY, record_images=False)
    return episode, state_digest(whole_state(simulator))


def _changes(failure: Failure, *, from_bag: bool) -> Iterator[str]:
    if not from_bag and dict(failure.identity) != policy_identity(failure.policy):
        yield f"the files of {failure.policy} have changed since"
    now = versions()
    differing = [name for name in {**failure.versions, **now} if failure.versions.get(name) != now.get(name)]
    for name in differing:
        yield f"{name} was {failure.versions.get(name, 'absent')}, is {now.get(name, 'absent')}"
    if failure.commit != commit():
        yield f"the code was at commit {failure.commit[:12] or 'unknown'}, is at {commit()[:12] or 'unknown'}"
