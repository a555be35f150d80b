"""``replay``: shows a bag's observations to the node ``policy`` and compares its chunks with those recorded.

The policy must run with ``clock:=prompt``: every question is a skill prompt with the stamp of an observation, then the
bag's own messages with the bag's stamps. Lost messages are shown again. Prints a table; exit code 0 if every chunk was
answered and none is further from the recorded one than ``tolerance``, else 1. What is asked is decided in
world2act_core.evaluation.replay.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_srvs.srv import Trigger

from world2act.node import DIAGNOSTICS, ERROR, IMAGE, LATCHED, RECORD, STATE, make, message_class
from world2act.readiness import why_not_ready
from world2act.topics import state_topics
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import compose, fields, messages
from world2act_core.errors import World2ActError
from world2act_core.evaluation.replay import Comparison, Question, compare, questions
from world2act_core.types import Array
from world2act_interfaces.msg import ActionChunk, SkillPrompt

POLICY_WITHIN_S = 300.0  # it may have a large model to load
AGAIN_S = 1.0  # an image is sent once and may be lost


class Replayer(Node):
    """Asks one question after the other; everything happens in the main thread."""

    def __init__(self) -> None:
        super().__init__("replay")
        declare = self.declare_parameter
        self._bag, self._in_bag = declare("bag", "").value, declare("bag_namespace", "").value
        self._embodiment = load_embodiment(declare("robot", "libero_panda").value)
        self._tolerance = declare("tolerance", 0.0).value
        self._answer_within_s = declare("answer_within_s", 10.0).value
        self._results = declare("results", "").value
        topics = {topic: (kind, STATE) for topic, kind in state_topics(self._embodiment).items()}
        topics |= {camera.topic: (messages.IMAGE, IMAGE) for camera in self._embodiment.cameras.values()}
        self._shows = {
            topic: self.create_publisher(message_class(kind), topic, qos) for topic, (kind, qos) in topics.items()
        }
        self._prompts = self.create_publisher(SkillPrompt, messages.SKILL_PROMPT_TOPIC, LATCHED)
        self.create_subscription(ActionChunk, messages.ACTION_CHUNK_TOPIC, self._on_chunk, RECORD)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, DIAGNOSTICS)
        # After the publishers: endpoints are announced in order, so who answers this has found those too.
        self._ready = self.create_client(Trigger, "policy/ready")
        self._chunk: ActionChunk | None = None
        self._fault = ""

    def run(self) -> int:
        """Ask everything; returns the exit code."""
        found = questions(self._bag, self._embodiment, self._in_bag)
        first = next(found)  # a bag that cannot be asked is told before a policy is waited for
        why = why_not_ready(self, self._ready, POLICY_WITHIN_S)
        if why:
            raise World2ActError(f"the policy is not ready after {POLICY_WITHIN_S:g} s: {why}")
        comparison = compare(itertools.chain([first], found), self._ask, self._embodiment)
        print(comparison.table(self._tolerance), flush=True)
        self._write(comparison)
        return 0 if comparison.within(self._tolerance) else 1

    def _write(self, comparison: Comparison) -> None:
        if self._results:
            text = json.dumps(comparison.as_json(self._tolerance), indent=2)
            Path(self._results).write_text(text + "\n", encoding="utf-8")

    def _ask(self, question: Question) -> tuple[Array | None, str]:
        prompt = (question.episode_id, question.task, question.skill, 0, 1, question.stamp_ns)
        self._chunk, self._fault = None, ""
        deadline = time.monotonic() + self._answer_within_s
        while time.monotonic() < deadline:
            self._prompts.publish(compose.skill_prompt(*prompt, make))
            for topic, (_, data) in question.shown.items():
                self._shows[topic].publish(data)
            again = min(deadline, time.monotonic() + AGAIN_S)
            while time.monotonic() < again:
                if (answer := self._answer(question)) is not None:
                    return answer, ""
                rclpy.spin_once(self, timeout_sec=max(0.0, again - time.monotonic()))
                if not self.context.ok():
                    raise ExternalShutdownException
        return None, self._fault or f"the policy did not answer within {self._answer_within_s:g} s"

    def _answer(self, question: Question) -> Array | None:
        """The chunk that has come, if it answers this question."""
        chunk = self._chunk
        if chunk is None or chunk.episode_id != question.episode_id:
            return None
        # Stamps travel through seconds in float64 on their way: a microsecond is the same stamp.
        if abs(fields.stamp_ns(chunk.header.stamp) - question.stamp_ns) > 1000:
            return None
        return np.array(chunk.data, np.float32).reshape(chunk.horizon, chunk.action_dim)

    def _on_chunk(self, chunk: ActionChunk) -> None:
        self._chunk = chunk

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        """Why the policy does not answer, if it says so."""
        name = f"{self.get_namespace().strip('/')}/policy".lstrip("/")
        for said in array.status:
            if said.name == name and said.level == ERROR:
                self._fault = said.message


def main() -> None:
    rclpy.init()
    replayer: Any = None
    try:
        replayer = Replayer()
        sys.exit(replayer.run())
    except World2ActError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(1)
    finally:
        if replayer is not None:
            replayer.destroy_node()
        rclpy.try_shutdown()
