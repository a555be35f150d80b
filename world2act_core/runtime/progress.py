"""How far an episode on a simulated arm is and when it ends: the rules of ``simulators.rollout``, step by step."""

from __future__ import annotations

from world2act_core.types import Skill

SUCCESS, TIME_LIMIT = "success", "time limit"


class EpisodeProgress:
    """Counts control steps and ends the episode at a chunk boundary.

    Args:
        chunk_length: ``M``.
        horizon: most control steps.
    """

    def __init__(self, chunk_length: int, horizon: int) -> None:
        self._chunk_length, self._horizon = chunk_length, horizon
        self.step, self.solved = 0, False
        self._prompts: list[tuple[str, int]] = []

    @property
    def at_boundary(self) -> bool:
        """A chunk begins here, so this step has frames."""
        return self.step % self._chunk_length == 0

    def advance(self, solved: bool) -> str:
        """One control step was carried out; a solved task stays solved and its chunk is finished.

        Returns:
            Why the episode is over, or "".
        """
        self.step += 1
        self.solved = self.solved or solved
        if not self.at_boundary:
            return ""
        if self.solved:
            return SUCCESS
        return TIME_LIMIT if self.step + self._chunk_length > self._horizon else ""

    def prompt(self, skill: str) -> None:
        """A skill prompt came; its skill lasts until the next one."""
        if not self._prompts or self._prompts[-1][0] != skill:
            self._prompts.append((skill, self.step))

    def skills(self) -> tuple[Skill, ...]:
        """The skills so far, in order; none before the first prompt."""
        if not self._prompts:
            return ()
        ends = [start for _, start in self._prompts[1:]] + [self.step]
        return tuple(Skill(skill, start, end) for (skill, start), end in zip(self._prompts, ends, strict=True))
