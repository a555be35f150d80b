"""The terminal view says what was heard, and says so when nothing was."""

from __future__ import annotations

from tests.evaluation.latency_bags import MS, T0, stamps
from world2act_core.runtime.status import LAST_HOLDS, WINDOW_S, GraphStatus, NodeHealth, Stream


def line(status: GraphStatus, start: str, monotonic: float = 0.0) -> str:
    return next(line for line in status.render(monotonic).splitlines() if line.startswith(start))


def test_a_stream_has_its_rate_and_age_and_loses_them_when_it_stops() -> None:
    stream = Stream(since=0.0)
    for k in range(300):
        stream.arrived(k / 30, now=T0 + 12 * MS, stamp=T0)
    assert abs(stream.rate(299 / 30) - 30) < 1 and stream.age_ms() == 12.0
    assert stream.rate(299 / 30 + 2 * WINDOW_S) == 0.0


def test_a_young_stream_is_not_taken_for_a_slow_one() -> None:
    stream = Stream(since=10.0)
    for k in range(30):
        stream.arrived(10.0 + k / 30, T0, T0)
    assert 25 < stream.rate(11.0) <= 30


def test_simulated_stamps_have_no_age() -> None:
    stream = Stream(since=0.0)
    stream.arrived(0.1, now=T0, stamp=50 * MS)
    assert stream.age_ms() is None


def test_before_anything_was_heard_nothing_is_claimed() -> None:
    status = GraphStatus("/")
    status.nodes["/policy"] = NodeHealth()
    status.streams["/joint_states"] = Stream(since=0.0)
    assert line(status, "skill").endswith("none is running") and line(status, "chunk").endswith("none has come")
    assert "no answer" in line(status, "  /policy") and "has said nothing yet" in line(status, "arm")
    assert "nothing has come" in line(status, "  /joint_states") and line(status, "holds").endswith("none seen")


def test_a_chunk_tells_ages_inference_and_the_way_to_its_first_command() -> None:
    status = GraphStatus("/")
    status.on_chunk(7, stamps(T0, inference_ms=30))
    status.on_track(6, T0 + 20 * MS)
    assert (
        line(status, "chunk") == "chunk    7: image age at the policy agentview 13.0, wrist 8.0 ms, inference 30.0 ms"
    )
    status.on_track(7, T0 + 50 * MS)
    status.on_track(7, T0 + 70 * MS)
    assert line(status, "chunk").endswith("photon to first command 50.0 ms")


def test_in_lockstep_only_the_inference_is_told() -> None:
    status = GraphStatus("/")
    status.on_chunk(1, stamps(T0, observation=0))
    status.on_track(1, 0)
    assert line(status, "chunk") == "chunk    1: inference 30.0 ms"


def test_holds_are_the_last_different_reasons_newest_first() -> None:
    status = GraphStatus("/")
    for k in range(8):
        status.on_hold(f"reason {'abcdefgh'[k]}", "abcdefgh"[k], float(k))
    status.on_hold("reason h 9", "h", 9.0)
    shown = [each.strip() for each in status.render(10.0).splitlines() if "reason" in each]
    assert len(shown) == LAST_HOLDS and shown[0].endswith("1.0 s ago: reason h 9") and shown[-1].endswith("reason d")


def test_a_latched_stop_stands_out_with_its_reason() -> None:
    status = GraphStatus("/")
    status.command_state, status.command_reason = "tracking", "tracking"
    assert line(status, "arm") == "arm      tracking: tracking; no stop is latched"
    status.command_state, status.command_reason = "stopped", "stopped by topic stop"
    assert line(status, "arm") == "arm      STOP IS LATCHED: stopped by topic stop"
    status.command_state, status.command_reason = "inactive", "the node was deactivated"
    assert "latched" not in line(status, "arm"), "nobody has said whether one is"


def test_skill_progress_and_health() -> None:
    status = GraphStatus("/")
    status.nodes["/skill_prompter"] = NodeHealth("active", 0, "running: x", {"progress": "0.25"})
    status.nodes["/policy"] = NodeHealth("active", 1, "no chunk: camera wrist", {"chunk": "3"})
    status.on_prompt("clear the table", "pick the bowl", 0, 2)
    assert line(status, "skill") == "skill    'pick the bowl' (1 of 2) of task 'clear the table', 25% of its time"
    assert "active        WARN: no chunk: camera wrist (chunk 3)" in line(status, "  /policy")
    status.on_prompt("clear the table", "", 0, 2)
    assert line(status, "skill") == "skill    none is running"
