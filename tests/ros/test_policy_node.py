"""The policy process: a chunk for a complete observation, none and a reason for an incomplete one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.policies.peering import Peer, address, peer
from tests.ros.support import FakeArm, make_episode, running, single
from world2act.node import COMMAND, LATCHED, RECORD, make
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import compose, fields
from world2act_interfaces.msg import ActionChunk, ArmCommand, SkillPrompt


class Desk:
    def __init__(self, probe: Any, embodiment: Embodiment) -> None:
        self.probe, self.arm = probe, FakeArm(probe, embodiment)
        self._prompts = probe.node.create_publisher(SkillPrompt, "skill_prompt", LATCHED)
        probe.listen(ActionChunk, "action_chunk", RECORD)
        self.chunks: list[ActionChunk] = probe.heard["action_chunk"]
        probe.node.create_publisher(ArmCommand, "arm_command", COMMAND)  # the policy listens to it by the wall clock
        probe.wait_ready("policy")

    def prompt(self, episode: str, stamp: float) -> None:
        self._prompts.publish(compose.skill_prompt(episode, "task", "skill", 0, 1, round(stamp * 1e9), make))


def test_lockstep_one_chunk_an_observation(probe: Any, domain: int, made_bag: Path, panda: Embodiment) -> None:
    expected = make_episode(panda).actions
    assert expected is not None
    with running(single("policy", policy=f"replay:{made_bag}"), domain):
        desk = Desk(probe, panda)
        desk.prompt("e1", 0.0)
        desk.arm.show_state(0.0)
        desk.arm.show_images(0.0, "agentview", "wrist")
        first = probe.wait(lambda: desk.chunks, 5, "the first chunk")[0]
        np.testing.assert_array_equal(np.array(first.data, np.float32).reshape(4, 7), expected[:4])
        assert (first.sequence, first.episode_id, first.skill, first.horizon) == (1, "e1", "skill", 4)
        ordered = (*first.image_received[:1], first.received, first.assembled, first.inference_start)
        stamps = [fields.stamp_ns(t) for t in (*ordered, first.inference_end, first.published)]
        assert stamps == sorted(stamps) and abs(stamps[0] / 1e9 - time.time()) < 10
        assert list(first.cameras) == ["agentview", "wrist"] and fields.stamp_ns(first.image_stamps[1]) == 0
        desk.arm.show_state(0.0)
        again = probe.wait(lambda: desk.chunks[1:], 5, "the same chunk for the repeated state")[0]
        assert again.sequence == 1, "a repeated state asks for the same answer, not for the next chunk"
        desk.arm.show_state(0.2)
        desk.arm.show_images(0.2, "agentview", "wrist")
        probe.wait(lambda: desk.chunks[-1].sequence == 2, 5, "the second chunk")
        np.testing.assert_array_equal(np.array(desk.chunks[-1].data, np.float32).reshape(4, 7), expected[4:8])


def test_by_the_wall_clock_missing_and_stale_cameras_stop_it(
    probe: Any, domain: int, made_bag: Path, panda: Embodiment
) -> None:
    """Regression of the field: a missing stream was filled with zeros and fed to the policy."""
    with running(single("policy", policy=f"replay:{made_bag}", clock="wall", max_age_s=0.4), domain):
        desk = Desk(probe, panda)
        shown = ["agentview"]
        probe.node.create_timer(0.02, lambda: desk.arm.show_state(time.time()))
        probe.node.create_timer(0.05, lambda: desk.arm.show_images(time.time(), *shown))
        desk.prompt("e1", time.time())
        missing = "no chunk: camera wrist on wrist/image_raw: nothing has been received"
        probe.wait(lambda: probe.diagnosis("policy") == missing, 8, "the missing camera's diagnosis")
        assert not desk.chunks
        shown.append("wrist")
        probe.wait(lambda: desk.chunks, 5, "a chunk once both cameras are there")
        shown.remove("wrist")
        probe.spin(0.6)
        desk.prompt("e2", time.time())
        count = len(desk.chunks)
        probe.wait(lambda: "camera wrist on wrist/image_raw: nothing received for" in probe.diagnosis("policy"), 8,
                   "the stale camera's diagnosis")  # fmt: skip
        assert len(desk.chunks) == count


def test_a_policy_that_cannot_be_opened_ends_with_one_sentence(domain: int) -> None:
    with running(single("policy", policy="replay:/nowhere/bag"), domain) as (processes, output):
        entry = processes.running[0]
        assert entry.process.wait(30) == 1
        entry.reader.join()
        assert "/nowhere/bag" in output.getvalue() and "Traceback" not in output.getvalue()


def test_a_policy_server_that_dies_is_a_reason_until_it_is_back(probe: Any, domain: int, panda: Embodiment) -> None:
    """The node gives no chunk and says why, which the command process answers with a hold; then it goes on."""
    back: Peer | None = None
    with peer("gr00t") as server:
        policy = address("gr00t", server.port, timeout_ms=400)
        try:
            with running(single("policy", policy=policy, clock="wall", max_age_s=0.4), domain):
                desk = Desk(probe, panda)
                probe.node.create_timer(0.02, lambda: desk.arm.show_state(time.time()))
                probe.node.create_timer(0.05, lambda: desk.arm.show_images(time.time(), "agentview", "wrist"))
                desk.prompt("e1", time.time())
                first = probe.wait(lambda: desk.chunks, 20, "a chunk of the server's")[0]
                assert first.horizon == 16 and np.isfinite(first.data).all()
                assert float(probe.wait(lambda: probe.diagnosed("policy", "round_trip_ms"), 5, "its timing")) > 0
                server.end()
                desk.prompt("e2", time.time())
                count = len(desk.chunks)
                reason = f"no chunk: gr00t://127.0.0.1:{server.port} did not answer in time"
                probe.wait(lambda: probe.diagnosis("policy").startswith(reason), 20, "the dead server's diagnosis")
                assert len(desk.chunks) == count
                back = Peer("gr00t_server.py", "--port", str(server.port))
                again = probe.wait(lambda: desk.chunks[count:], 20, "a chunk of the server that came back")[0]
                assert (again.episode_id, again.horizon) == ("e2", 16)
        finally:
            if back is not None:
                back.end()
