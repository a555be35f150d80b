"""Node ``policy``: synchronised observations → action chunks, in a process of its own.

Subscribes: skill_prompt, every state topic, the images that the policy wants, and (by the wall clock) the command
stream, which shows when a chunk is used up. Publishes: action_chunk. A missing or stale stream means no chunk and a
reason in the diagnostics, never zeros.
"""

from __future__ import annotations

import functools
import sys
import time
from collections import Counter
from typing import Any

from sensor_msgs.msg import Image

from world2act.node import COMMAND, ERROR, IMAGE, LATCHED, OK, STATE_READER, WARN, World2ActNode, make, message_class
from world2act.running import run_node
from world2act.topics import state_topics
from world2act_core.episodes import compose, fields
from world2act_core.episodes.messages import ACTION_CHUNK_TOPIC, SKILL_PROMPT_TOPIC
from world2act_core.episodes.stamps import ChunkStamps
from world2act_core.errors import World2ActError
from world2act_core.policies.address import open_policy
from world2act_core.runtime.chunks import MODES, OPEN_LOOP
from world2act_core.runtime.observing import Complete, Incomplete, ObservationBuffer
from world2act_core.runtime.turns import ChunkTurns
from world2act_core.types import ActionChunk
from world2act_interfaces.msg import ActionChunk as ActionChunkMessage
from world2act_interfaces.msg import ArmCommand, SkillPrompt

CLOCKS = ("state", "wall", "prompt")
PATIENCE_S = 0.5  # streams of one instant arrive one after the other; later than this it is a fault worth saying


class PolicyNode(World2ActNode):
    """Answers the observation that is due with a chunk; says why when it cannot."""

    def __init__(self) -> None:
        super().__init__("policy")
        self._embodiment = self.embodiment_parameter()
        self._address = self.parameter("policy", "", "address of the policy, e.g. run:FOLDER or replay:BAG")
        clock = self.parameter(
            "clock",
            "state",
            "state: lockstep; wall: real time; prompt: every skill prompt asks for one chunk, at its stamp",
        )
        if clock not in CLOCKS:
            raise World2ActError(f"clock:={clock} is none of {', '.join(CLOCKS)}")
        self._lockstep, self._asked = clock != "wall", clock == "prompt"
        self._mode = self.parameter("execution", OPEN_LOOP, f"as the command process's: {', '.join(MODES)}")
        self._max_age_s = self.parameter("max_age_s", 0.5, "a stream without news for this long is stale", 0.02, 60.0)
        self._prompt = SkillPrompt()
        self._sequence, self._due_since, self._retry_at = 0, 0.0, 0.0
        self._last: ActionChunkMessage | None = None
        self._policy_open = False
        self._images: Counter[str] = Counter()  # received, by camera

    def configure(self) -> None:
        self._policy = open_policy(self._address, self._embodiment)
        self._policy_open = True
        self._publisher = self.speak(ActionChunkMessage, ACTION_CHUNK_TOPIC, COMMAND)

    def cleanup(self) -> None:
        if self._policy_open:
            self._policy.close()
            self._policy_open = False

    def activate(self) -> None:
        # In lockstep the arm waits for the policy, so the age of a message says nothing until the arm repeats itself.
        age = self._max_age_s if not self._lockstep else max(self._max_age_s, 2.0)
        late_s = 0.0 if self._lockstep else age
        self._buffer = ObservationBuffer(self._embodiment, self._policy.cameras, age, late_s)
        self._turns = ChunkTurns(self._embodiment, self._lockstep, self._mode)
        self.listen(SkillPrompt, SKILL_PROMPT_TOPIC, self._on_prompt, LATCHED)
        for topic, kind in state_topics(self._embodiment).items():
            self.listen(message_class(kind), topic, functools.partial(self._on_state, topic), STATE_READER)
        for name in self._policy.cameras:
            callback = functools.partial(self._on_image, name)
            self.listen(Image, self._embodiment.cameras[name].topic, callback, IMAGE)
        if not self._lockstep:
            self.listen(ArmCommand, self._embodiment.action.topic, self._on_command, COMMAND)
        self.every(0.2, self._on_timer)

    def _on_prompt(self, prompt: SkillPrompt) -> None:
        before, self._prompt = self._prompt, prompt
        if not prompt.skill:
            self._turns.stop()
            self._buffer.clear()
            self._last = None
        elif prompt.episode_id != before.episode_id or not before.skill:
            self._policy.reset()
            self._sequence, self._last = 0, None
            self._turns.start(fields.stamp_s(prompt.header.stamp))
            self._due_since = time.monotonic()
        if self._asked and prompt.skill:
            self._buffer.clear()  # only what is shown from now on is meant
            self._retry_at = 0.0
            self._turns.ask(fields.stamp_s(prompt.header.stamp))
        self._answer()

    def _on_state(self, topic: str, message: Any) -> None:
        self._buffer.add_state(topic, message, time.monotonic())
        first = next(iter(state_topics(self._embodiment)))
        if self._lockstep and topic == first and self._last and message.header.stamp == self._last.header.stamp:
            self._publisher.publish(self._last)  # the arm repeats itself: it has not heard this answer
        self._answer()

    def _on_image(self, camera: str, message: Image) -> None:
        self._buffer.add_image(camera, message, time.monotonic())
        self._images[camera] += 1
        self._answer()

    def _on_command(self, command: ArmCommand) -> None:
        stamp = fields.stamp_s(command.header.stamp)
        if command.mode == ArmCommand.TRACK:
            self._turns.track_seen(command.chunk, command.step, stamp)
        else:
            self._turns.hold_seen(stamp)

    def _on_timer(self) -> None:
        missing = self._answer()
        if missing is not None and missing.fault and time.monotonic() - self._due_since > PATIENCE_S:
            self.report(WARN, f"no chunk: {missing.reason}", **self._counts())

    def _answer(self) -> Incomplete | None:
        """Publish the chunk that is due; returns what is missing, or None if nothing is."""
        monotonic, now = time.monotonic(), None if self._lockstep else self.seconds_now()
        if now is not None:
            self._turns.clock(now)
        if not self._prompt.skill or not self._turns.wanted or monotonic < self._retry_at:
            return None
        picked = self._buffer.pick(monotonic, now, self._turns.due, exact=self._lockstep)
        if isinstance(picked, Incomplete):
            return picked
        assembled = (self._now_ns(), time.monotonic())
        began = self._now_ns()
        try:
            chunk = self._policy.act(picked.observation, self._prompt.skill)
        except Exception as error:
            self._retry_at = time.monotonic() + PATIENCE_S
            if not isinstance(error, World2ActError):
                raise  # the main loop says it, traceback included
            self.report(ERROR, f"no chunk: {error}")
            return None
        self._publish(chunk, self._stamps(picked, assembled, began))
        return None

    def _counts(self) -> dict[str, int]:
        return {f"{camera}_images": count for camera, count in self._images.items()}

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _stamps(self, picked: Complete, assembled: tuple[int, float], began: int) -> ChunkStamps:
        """``assembled``: the same instant by this node's clock (nanoseconds) and monotonic (seconds)."""
        ended = self._now_ns()

        def clock(monotonic: float) -> int:
            return assembled[0] - fields.seconds_to_ns(assembled[1] - monotonic)

        return ChunkStamps(
            observation=fields.seconds_to_ns(picked.observation.stamp),
            images={name: (stamp, clock(received)) for name, (stamp, received) in picked.images.items()},
            received=clock(picked.received),
            assembled=assembled[0],
            inference_start=began,
            inference_end=ended,
            published=ended,  # until it is: _publish
        )

    def _publish(self, chunk: ActionChunk, stamps: ChunkStamps) -> None:
        self._sequence += 1
        said = ActionChunk(chunk.actions, chunk.stamp, self._prompt.skill)
        self._last = compose.action_chunk(
            said, stamps, self._sequence, self._prompt.episode_id, self._embodiment.name, make
        )
        self._turns.sent(self._sequence, fields.ns_to_seconds(stamps.observation), self.seconds_now())
        self._due_since = time.monotonic()
        self._last.published = self.get_clock().now().to_msg()
        self._publisher.publish(self._last)
        took_ms = (stamps.inference_end - stamps.inference_start) / 1e6
        oldest = min((stamp for stamp, _ in stamps.images.values()), default=stamps.observation)
        values = {} if self._lockstep else {"image_age_ms": f"{(stamps.inference_start - oldest) / 1e6:.1f}"}
        values |= {f"{part}_ms": f"{1000 * seconds:.1f}" for part, seconds in chunk.timing.items()}
        self.report(OK, "acting", chunk=self._sequence, inference_ms=f"{took_ms:.1f}", **values, **self._counts())


def main() -> None:
    sys.exit(run_node(PolicyNode))
