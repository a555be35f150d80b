"""The recorder says when it cannot record, and keeps what it has when it is ended."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from std_srvs.srv import Trigger

from tests.ros.support import FakeArm, running, single
from world2act.node import COMMAND, EVENT, LATCHED, make
from world2act.recorder import OLD_S
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import compose, read_bag
from world2act_core.episodes.storage import bag_messages, decode
from world2act_core.errors import DamagedBagError
from world2act_interfaces.msg import ActionChunk, ArmCommand, EpisodeEvent, SkillPrompt


def test_an_existing_folder_is_never_overwritten(domain: int, tmp_path: Path) -> None:
    with running(single("recorder", folder=str(tmp_path)), domain) as (processes, output):
        assert processes.running[0].process.wait(30) == 1
        processes.running[0].reader.join()
    assert f"{tmp_path} exists already" in output.getvalue() and "Traceback" not in output.getvalue()


def test_a_disk_with_too_little_space_is_refused_before_anything_is_written(domain: int, tmp_path: Path) -> None:
    wanted = shutil.disk_usage(tmp_path).free // 10**6 + 100_000
    graph = single("recorder", folder=str(tmp_path / "bag"), min_free_mb=wanted)
    with running(graph, domain) as (processes, output):
        assert processes.running[0].process.wait(30) == 1
        processes.running[0].reader.join()
    assert f"MB are free in {tmp_path}, a recording leaves at least {wanted} MB" in output.getvalue()
    assert not (tmp_path / "bag").exists() and "Traceback" not in output.getvalue()


def test_a_recording_ends_with_a_whole_bag_before_the_disk_is_full(
    probe: Any, domain: int, panda: Embodiment, tmp_path: Path
) -> None:
    bag, filler = tmp_path / "bag", tmp_path / "filler"
    limit = shutil.disk_usage(tmp_path).free // 10**6 - 300
    events = probe.node.create_publisher(EpisodeEvent, "episode_event", EVENT)
    about: dict[str, Any] = {"episode_id": "e", "task": "t", "embodiment": panda.name}
    with running(single("recorder", folder=str(bag), min_free_mb=limit), domain) as (processes, output):
        probe.wait(lambda: probe.diagnosis("recorder") == "recording", 30, "the recording")
        probe.wait(events.get_subscription_count, 10, "a recorder that listens")
        events.publish(compose.episode_event(compose.START, 0, make=make, **about))
        probe.wait(lambda: (bag / "bag_0.mcap").stat().st_size > 1000, 10, "the event on disk")
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 400 * 10**6)
        probe.wait(lambda: "recording ended, its bag is whole: only" in probe.diagnosis("recorder"), 10, "the sentence")
        filler.unlink()
        assert (bag / "metadata.yaml").is_file() and processes.running[0].process.poll() is None
        processes.interrupt()
        assert processes.wait() == 1, output.getvalue()
    assert "Traceback" not in output.getvalue()
    (event,) = bag_messages(bag)
    assert event.topic.strip("/") == "episode_event"


def test_a_write_that_fails_is_said_and_what_was_written_stays_readable(
    probe: Any, domain: int, panda: Embodiment, tmp_path: Path
) -> None:
    """The disk refuses between two looks at its free space: here a limit on the size of the process's files."""
    bag = tmp_path / "bag"
    arm = FakeArm(probe, panda)
    with running(single("recorder", folder=str(bag)), domain) as (processes, output):
        probe.wait(lambda: probe.diagnosis("recorder") == "recording", 30, "the recording")
        probe.wait(lambda: all(p.get_subscription_count() for p in arm.publishers.values()), 30, "it listens")
        resource.prlimit(processes.running[0].process.pid, resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))

        def failed() -> bool:
            arm.show_images(time.time(), *panda.cameras)
            return "recording failed" in probe.diagnosis("recorder")

        probe.wait(failed, 60, "the failure")
        assert "writing the bag failed (File too large)" in probe.diagnosis("recorder")
        ready = probe.node.create_client(Trigger, "recorder/ready")
        probe.wait(ready.service_is_ready, 30, "the service")
        assert not probe.wait_for_reply(ready, Trigger.Request(), 30).success, "no task may begin"
        processes.interrupt()
        assert processes.wait() == 1, output.getvalue()
    assert "Traceback" not in output.getvalue()
    images = 0
    with pytest.raises(DamagedBagError):  # cut off in the middle of a chunk
        for _ in bag_messages(bag):
            images += 1
    assert images > 10


def test_an_event_is_recorded_though_its_writer_had_not_found_the_recorder(
    probe: Any, domain: int, panda: Embodiment, tmp_path: Path
) -> None:
    """Regression: a START sent before the other side was discovered was lost, and with it the episode."""
    bag = tmp_path / "bag"

    def announce(episode_id: str) -> None:
        events = probe.node.create_publisher(EpisodeEvent, "episode_event", EVENT)  # nobody knows of it yet
        events.publish(
            compose.episode_event(compose.START, 0, make=make, episode_id=episode_id, task="t", embodiment=panda.name)
        )

    announce("of another recording")
    probe.spin(OLD_S + 0.1)
    with running(single("recorder", folder=str(bag)), domain) as (processes, output):
        probe.wait(lambda: probe.diagnosis("recorder") == "recording", 30, "the recording")
        announce("of this recording")
        probe.wait(lambda: probe.diagnosed("recorder", "messages") == "1", 30, "the event in the recorder")
        processes.interrupt()
        assert processes.wait() == 0, output.getvalue()
    assert [decode(raw).episode_id for raw in bag_messages(bag)] == ["of this recording"]


def test_an_interrupted_recording_is_closed_and_readable(
    probe: Any, domain: int, panda: Embodiment, tmp_path: Path
) -> None:
    bag = tmp_path / "bag"
    arm = FakeArm(probe, panda)
    events = probe.node.create_publisher(EpisodeEvent, "episode_event", EVENT)
    commands = probe.node.create_publisher(ArmCommand, "arm_command", COMMAND)
    for topic, kind, qos in (("skill_prompt", SkillPrompt, LATCHED), ("action_chunk", ActionChunk, 1)):
        probe.node.create_publisher(kind, topic, qos)
    about: dict[str, Any] = {"episode_id": "e", "task": "t", "embodiment": panda.name}
    with running(single("recorder", folder=str(bag)), domain) as (processes, _):
        probe.wait_ready("recorder")
        told = (events, commands, *arm.publishers.values())
        probe.wait(lambda: all(publisher.get_subscription_count() for publisher in told), 15, "the recorder listens")
        events.publish(compose.episode_event(compose.START, 0, make=make, **about))
        for step in range(9):
            stamp = step * 50_000_000
            arm.show_state(step * 0.05)
            if step % 4 == 0:
                arm.show_images(step * 0.05, *panda.cameras)
            if step < 8:
                commands.publish(compose.track_command(np.full(7, 0.1 * step), stamp, make=make))
            time.sleep(0.01)
        events.publish(compose.episode_event(compose.END, 8 * 50_000_000, success=True, make=make, **about))
        sent = 2 + 9 * 2 + 3 * len(panda.cameras) + 8
        probe.wait(lambda: probe.diagnosed("recorder", "messages") == str(sent), 20, "everything has arrived")
        process = processes.running[0].process
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert (bag / "metadata.yaml").is_file()
    (episode,) = read_bag(bag, panda).episodes
    assert episode.steps == 8 and list(episode.frame_steps) == [0, 4, 8] and episode.success
    assert episode.actions is not None and abs(episode.actions[3, 0] - 0.3) < 1e-6
