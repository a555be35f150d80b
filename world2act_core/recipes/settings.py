"""What the main recipe can be told. The defaults are the demo; ``recipes/*.yaml`` override them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from world2act_core.alignment.calibrate import CalibrationConfig
from world2act_core.alignment.states import StateDynamicsConfig
from world2act_core.alignment.train import Stage1Config
from world2act_core.baselines.pixels import IdmConfig
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.embodiment.displacement import may_rest
from world2act_core.errors import World2ActError
from world2act_core.policies.compact import CompactConfig
from world2act_core.recipes.overrides import override, read_yaml
from world2act_core.residual.network import ResidualConfig
from world2act_core.residual.train import Stage2Config
from world2act_core.simulators.starts import OFFICIAL_STATES, Start, contract_of, jittered_starts
from world2act_core.world_model.compact import CompactWorldModelConfig
from world2act_core.world_model.matching import ImaginationConfig


@dataclass(frozen=True)
class Split:
    """Starts of one purpose: ``count`` of them, cycling through official states ``[first, last]``.

    ``seed`` is that of the first start's displacement; splits with disjoint official states cannot share a start.
    """

    first: int
    last: int
    count: int
    seed: int

    def check(self, name: str) -> None:
        """
        Raises:
            World2ActError: there is no start in it, or one that LIBERO does not have.
        """
        if not 0 <= self.first <= self.last or self.count < 1:
            raise World2ActError(f"{name} holds no start: it needs 0 <= first <= last and count >= 1")
        if self.last >= OFFICIAL_STATES:
            raise World2ActError(f"{name} goes to state {self.last}: LIBERO's last is {OFFICIAL_STATES - 1}")
        if self.seed < 0:
            raise World2ActError(f"{name}: seed = {self.seed} must be 0 or more")

    def check_tried_once(self, name: str, jitter_cm: float) -> None:
        """Without a displacement an official state is one start, and what is tried there twice says nothing new.

        Raises:
            World2ActError: a start would be tried twice.
        """
        states = self.last - self.first + 1
        if not jitter_cm and self.count > states:
            raise World2ActError(
                f"{name}: with jitter_cm = 0 its {states} official states are all the starts there are, so count = "
                f"{self.count} would try some again: make it at most {states}, or displace them"
            )

    def shares_a_state_with(self, other: Split) -> bool:
        return max(self.first, other.first) <= min(self.last, other.last)


TRAINING_SPLITS = ("demonstrations", "pretraining", "videos", "free_pairs", "post_training")
"""Fields of ``Recipe``: the splits that something is learned from."""

UNUSED = ("base", "still")
"""What is asked of an action dimension that the demonstrations hardly use, where an adapter reads mostly error."""

ON_VIDEOS = ("none", "imagined", "real", "states")
"""What Stage 2 learns from at the frames of the videos."""


@dataclass(frozen=True)
class Recipe:
    """The whole loop on one LIBERO task, number by number."""

    suite: str = "libero_goal"
    task: int = 8
    embodiment: str = "libero_panda"
    cameras: tuple[str, ...] = ("agentview", "wrist")  # tiled in one frame, which every model sees
    jitter_cm: float = 3.0
    seed: int = 0
    workers: int = 2
    torch_threads: int = 2

    demonstrations: Split = Split(0, 9, 10, 1000)  # with actions: all that anything here is told of an expert's
    # What the base is cloned from instead, seen by nothing else: one that knows more than the demonstrations, as a VLA
    # does. 0: it sees the demonstrations only.
    pretraining: Split = Split(0, 9, 0, 5000)
    videos: Split = Split(10, 24, 200, 2000)  # without actions: the world model's
    free_pairs: Split = Split(25, 29, 120, 3000)  # the base acting on its own and with noise: labels come free
    post_training: Split = Split(30, 34, 48, 4000)  # Stage 2's rollouts
    evaluation: Split = Split(35, 49, 80, 9000)  # held out from all of the above
    deployment_episodes: int = 3

    video_noise: tuple[float, ...] = (0.1, 0.2)  # of the demonstrator in the videos, cycled: they show recoveries
    release_chunks: int = 3  # demonstrations and videos go on so long after success, to show how the gripper lets go
    pair_noise: tuple[float, ...] = (0.0, 0.0, 0.1, 0.2)  # of the base in the free pairs, cycled
    demonstrations_weigh: float = 5.0  # in Stage 1, beside the free pairs, which are many and hardly ever let go
    pair_steps: int = 110  # longer than a demonstration; what comes later shows a base that is lost
    rollout_steps: int = 160  # post-training rollouts end there; evaluation runs to the task's horizon
    used_spread: float = 0.15  # action dimensions that spread less in the demonstrations are not used, see ``unused``
    unused: str = "still"  # what an unused action dimension does: the "base"'s, or 0, as cloning has it (ours)
    # Ours: Stage 2 also learns at the frames of the videos, from what is "imagined" there, from what "real"ly followed
    # or, where the robot's "states" were logged, as with videos of the same robot, from their course; the paper's does
    # not ("none").
    stage2_on_videos: str = "states"
    # Ours: share of what Stage 2 draws that are frames of the demonstrations, whose true actions are asked for.
    # With it the residual did as well as cloning on the same labels, which had them too (trials, seventh round).
    stage2_on_demonstrations: float = 0.3
    rounds: int = 3  # of Stage 2: rollouts with the newest policy, then training

    # What all models learn from: "skills", each clip with its atomic prompt (the paper's), or "tasks", whole episodes
    # with the instruction. Rollouts of a policy have no skills marked, so the demo goes by tasks throughout.
    clips: str = "tasks"

    base: CompactConfig = field(default_factory=CompactConfig)
    # Of what the baselines clone, which is many episodes: there patches were the better eyes.
    cloning: CompactConfig = field(
        default_factory=lambda: CompactConfig(encoder="patches", features=128, steps=3000, batch=128, weight_decay=1e-2)
    )
    inverse_dynamics: IdmConfig = field(default_factory=IdmConfig)  # of the pixel-space baseline
    # Stage 2 imagines one chunk ahead of a real frame, so training need not look further; that keeps the demo short.
    world_model: CompactWorldModelConfig = field(default_factory=lambda: CompactWorldModelConfig(steps=800, unroll=1))
    # Flow reads an expert's videos far better than latents did; a contrast of 1 costs accuracy (trials, fifth round).
    stage1: Stage1Config = field(default_factory=lambda: Stage1Config(steps=2500, pooling="flow", contrast=0.1))
    states: StateDynamicsConfig = field(default_factory=StateDynamicsConfig)  # of stage2_on_videos: states
    calibration: CalibrationConfig = field(default_factory=lambda: CalibrationConfig(steps=1500))  # off at 0 steps
    imagination: ImaginationConfig = field(default_factory=ImaginationConfig)  # of what Stage 2 is led by
    # Told the base's action, or led by a contrast as well, the residual did far worse (trials, sixth round).
    residual: ResidualConfig = field(
        default_factory=lambda: ResidualConfig(
            encoder="patches", features=128, trunk="flat", correction="instead", hide_base=1.0
        )
    )
    stage2: Stage2Config = field(
        default_factory=lambda: Stage2Config(steps=1700, batch=64, learning_rate=1e-3, contrast=0.0, penalty=0.0)
    )

    def __post_init__(self) -> None:
        """Refuse what would only fail, or be wrong, after minutes of work."""
        if self.base.cameras not in (CompactConfig().cameras, self.cameras):
            raise World2ActError(f"base.cameras {list(self.base.cameras)} is decided by cameras: leave it out")
        usual = CompactWorldModelConfig()
        for name, by in (("views", "cameras"), ("image_size", "base.image_size")):
            if getattr(self.world_model, name) != getattr(usual, name):
                raise World2ActError(f"world_model.{name} is decided by {by}: leave it out")
        self._take_the_suite_s_contract()
        if self.stage2_on_videos not in ON_VIDEOS:
            raise World2ActError(
                f"stage2_on_videos is {self.stage2_on_videos!r}, expected one of {', '.join(ON_VIDEOS)}"
            )
        if not 0.0 <= self.stage2_on_demonstrations < 1.0:
            raise World2ActError(
                f"stage2_on_demonstrations is {self.stage2_on_demonstrations}, expected a share of at least 0, below 1"
            )
        if self.unused not in UNUSED:
            raise World2ActError(f"unused is {self.unused!r}, expected one of {', '.join(UNUSED)}")
        if self.clips not in ("skills", "tasks"):
            raise World2ActError(f"clips is {self.clips!r}, expected 'skills' or 'tasks'")
        for name in ("base", "cloning"):
            object.__setattr__(self, name, replace(getattr(self, name), cameras=self.cameras))
        for name, split in self.learned_from.items():
            split.check(name)
            if split.shares_a_state_with(self.evaluation):
                raise World2ActError(f"{name} and evaluation share official states: change their first and last")
        for name, count, least in (
            ("videos.count", self.videos.count, 5),  # a tenth is kept for measuring, and must not be empty
            ("demonstrations.count + free_pairs.count", self.demonstrations.count + self.free_pairs.count, 16),
        ):
            if count < least:
                raise World2ActError(f"{name} = {count} leaves nothing to measure on: make it at least {least}")
        self.evaluation.check("evaluation")
        self._check_counts()

    def _take_the_suite_s_contract(self) -> None:
        _, contract = contract_of(self.suite)
        if contract and self.embodiment not in (Recipe.embodiment, contract):
            raise World2ActError(f"embodiment {self.embodiment} is decided by suite {self.suite}: leave it out")
        object.__setattr__(self, "embodiment", contract or self.embodiment)

    def _check_counts(self) -> None:
        if self.seed < 0:
            raise World2ActError(f"seed = {self.seed}, expected 0 or more")
        if self.jitter_cm < 0:
            raise World2ActError(f"jitter_cm = {self.jitter_cm:g}, expected 0 or more, half a displacement's width")
        for name, count in (
            ("workers", self.workers),
            ("torch_threads", self.torch_threads),
            ("base.steps", self.base.steps),
            ("base.batch", self.base.batch),
            ("base.image_size", self.base.image_size),
            ("stage2.steps", self.stage2.steps),
        ):
            if count < 1:
                raise World2ActError(f"{name} = {count}, expected at least 1")
        most = self.post_training.count  # every round has rollouts of its own
        if not 1 <= self.rounds <= most:
            raise World2ActError(f"rounds = {self.rounds}, expected 1 to {most}, which is post_training.count")
        for name in ("video_noise", "pair_noise"):
            if not getattr(self, name):
                raise World2ActError(f"{name} = [], expected at least one noise (0 is none)")

    @property
    def learned_from(self) -> dict[str, Split]:
        """The training splits by name; that of pretraining where there is any."""
        names = (name for name in TRAINING_SPLITS if name != "pretraining" or self.pretraining.count)
        return {name: getattr(self, name) for name in names}

    def starts(self, split: Split) -> list[Start]:
        indices = range(split.first, split.last + 1)
        return jittered_starts(self.suite, self.task, indices, self.jitter_cm, split.count, split.seed)


_NOT_SIMULATED = "it sets up a simulator, and none is used"
_AS_LOGGED = "episodes are taken as they were logged"
NOT_OF_LOGS = {
    **dict.fromkeys(("suite", "task"), "the task is the one that the episodes show"),
    **dict.fromkeys(("jitter_cm", "workers", "evaluation", "deployment_episodes"), _NOT_SIMULATED),
    **dict.fromkeys(TRAINING_SPLITS, _NOT_SIMULATED),
    **dict.fromkeys(("video_noise", "release_chunks", "pair_noise", "pair_steps", "rollout_steps"), _AS_LOGGED),
    "rounds": "Stage 2 has one, because there are no rollouts",
    **dict.fromkeys(("cloning", "inverse_dynamics"), "it is of the study's baselines"),
}
"""Fields of ``Recipe`` that nothing goes by on logged episodes, and why."""


def read_logged_recipe(path: Path | None, embodiment: str | None = None) -> tuple[Recipe, tuple[str, ...] | None]:
    """The recipe for logs, with the values of a YAML file put over it, and the cameras if the file names any.

    Args:
        embodiment: in place of the file's.

    Raises:
        World2ActError: no such file, it names something that a recipe does not have or that logs do not use, or it
            wants an arm held still that cannot be.
    """
    name, raw = ("", {}) if path is None else (path.name, read_yaml(path, "recipe"))
    said = set(raw) if isinstance(raw, dict) else set()
    for key, why in NOT_OF_LOGS.items():
        if key in said:
            raise World2ActError(f"{name}: {key} means nothing on logs: {why}; leave it out")
    embodiment = embodiment or override(Recipe(), raw, name).embodiment
    recipe = replace(override(_for_logs_of(embodiment), raw, name), embodiment=embodiment)
    if recipe.unused == "still":
        check_rest(load_embodiment(embodiment))
    return recipe, recipe.cameras if "cameras" in said else None


def _for_logs_of(embodiment: str) -> Recipe:
    """The demo's. But an arm that is commanded by positions and stands a little off them would creep if it were asked
    at every chunk to stay where it stands; and a place that no state tells of cannot be read from what moved: there the
    residual adds to a base whose action it is told."""
    robot = load_embodiment(embodiment)
    recipe = with_usual_rest(Recipe(), {}, robot)
    if not may_rest(robot):
        told = replace(recipe.residual, trunk="tokens", correction="added", hide_base=0.0)
        recipe = replace(recipe, residual=told)
    return recipe


def with_usual_rest(recipe: Recipe, raw: Any, embodiment: Embodiment) -> Recipe:
    """The recipe, with what an arm of this kind does in dimensions that are not used unless ``raw`` says so."""
    said = isinstance(raw, Mapping) and "unused" in raw
    return recipe if said or embodiment.action.is_delta else replace(recipe, unused="base")


def check_rest(embodiment: Embodiment) -> None:
    """Whether what the demonstrations do not use can stay still.

    Raises:
        World2ActError: there is no action that says so.
    """
    if not may_rest(embodiment):
        raise World2ActError(
            f"unused: still asks an arm to stay where it stands, which its state does not say of every action dimension"
            f" of {embodiment.name} ({embodiment.action.kind}): set unused: base"
        )


def read_recipe(path: Path | None) -> Recipe:
    """The demo's recipe, with the values of a YAML file put over it.

    Raises:
        World2ActError: no such file, or it names something that a recipe does not have.
    """
    raw = {} if path is None else read_yaml(path, "recipe")
    recipe = Recipe() if path is None else override(Recipe(), raw, path.name)
    recipe = with_usual_rest(recipe, raw, load_embodiment(recipe.embodiment))
    recipe.evaluation.check_tried_once("evaluation", recipe.jitter_cm)
    return recipe
