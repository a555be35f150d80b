"""``run_task``: asks ``skill_prompter`` to carry out tasks one after the other, prints each outcome, ends.

Exit code 0 if every task ran to its end (successfully or not), 1 if one could not be run.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_srvs.srv import Trigger

from world2act.readiness import why_not_ready
from world2act_interfaces.action import RunTask

SERVER_WITHIN_S = 120.0
OUTCOMES = {RunTask.Result.SUCCEEDED: "success", RunTask.Result.TIME_LIMIT: "time limit",
            RunTask.Result.CANCELLED: "cancelled", RunTask.Result.FAULT: "fault"}  # fmt: skip


class TaskRunner(Node):
    """A client of action ``run_task``."""

    def __init__(self) -> None:
        super().__init__("run_task")
        self._starts = self.declare_parameter("starts", [""]).value
        self._source = self.declare_parameter("source", "policy").value
        self._task = self.declare_parameter("task", "").value  # on a simulated arm the start says it
        self._pause_s = self.declare_parameter("pause_s", 0.0).value  # before each task: the arm comes back
        self._results = self.declare_parameter("results", "").value
        self._client = ActionClient(self, RunTask, "run_task")
        # After the action's client: endpoints are announced in order, so who answers this has found that client too.
        self._ready = self.create_client(Trigger, "skill_prompter/ready")

    def run(self) -> int:
        """All tasks; returns the exit code."""
        why = why_not_ready(self, self._ready, SERVER_WITHIN_S)
        if why:
            self.get_logger().error(f"skill_prompter is not ready after {SERVER_WITHIN_S:g} s: {why}")
            return 1
        for index, start in enumerate(self._starts):
            outcome = self._run_one(index, start)
            line = json.dumps(outcome)
            print(line, flush=True)
            if self._results:
                with Path(self._results).open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
            if outcome["outcome"] in ("fault", "rejected"):
                return 1
        return 0

    def _run_one(self, index: int, start: str) -> dict[str, Any]:
        episode_id = f"{self._source}-{index:03d}-{start or uuid.uuid4().hex[:8]}"
        time.sleep(self._pause_s)
        goal = RunTask.Goal(task=self._task, start_id=start, source=self._source, episode_id=episode_id)
        about = {"episode_id": episode_id, "start_id": start, "source": self._source}
        handle = self._await(self._client.send_goal_async(goal))
        if not handle.accepted:
            return {**about, "outcome": "rejected", "reason": "skill_prompter is not active or busy"}
        result = self._await(handle.get_result_async()).result
        return {
            **about,
            "outcome": OUTCOMES[result.outcome],
            "reason": result.reason,
            "duration_s": round(result.duration_s, 3),
            "steps": result.steps,
        }

    def _await(self, future: Any) -> Any:
        rclpy.spin_until_future_complete(self, future)
        if not future.done():
            raise ExternalShutdownException
        return future.result()


def main() -> None:
    rclpy.init()
    runner = TaskRunner()
    try:
        sys.exit(runner.run())
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(1)
    finally:
        runner.destroy_node()
        rclpy.try_shutdown()
