"""A simulator that crashes, hangs or talks nonsense ends one episode with a sentence, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.processes import all_gone, until
from tests.simulators.remote import toy
from world2act_core.errors import SimulatorLost, World2ActError
from world2act_core.simulators.opening import open_demonstrator
from world2act_core.simulators.remote.client import RemoteSimulator
from world2act_core.simulators.rollout import rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerPool

START = Start(toy.SUITE, 0, 2)
ACTION = np.ones(7)


def pid_of(simulator: RemoteSimulator) -> int:
    assert simulator.pid is not None
    return simulator.pid


def finish(simulator: RemoteSimulator) -> bool:
    episode = rollout(simulator, open_demonstrator(simulator), START, episode_id="e", source="toy")
    return bool(episode.success)


def test_a_server_killed_in_mid_episode_voids_it_and_the_next_reset_begins_anew(remote: RemoteSimulator) -> None:
    remote.reset(START)
    remote.step(ACTION)
    killed = pid_of(remote)
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(SimulatorLost, match=rf"toy_goal/0 \(process {killed}, signal SIGKILL\) died at 'step'"):
        remote.step(ACTION)
    with pytest.raises(SimulatorLost, match="reset it"):
        remote.observe()
    assert finish(remote)
    assert remote.pid not in (killed, None)


def test_a_hung_server_is_ended_at_its_deadline(hasty: RemoteSimulator) -> None:
    hasty.reset(START)
    hung = pid_of(hasty)
    os.kill(hung, signal.SIGSTOP)
    with pytest.raises(SimulatorLost, match="did not answer 'observe' within 0.5 s and was ended"):
        hasty.observe()
    assert all_gone([hung])
    assert finish(hasty)


def test_a_server_that_talks_nonsense_is_ended(tmp_path: Path) -> None:
    garbage = "import os, re; os.write(int(re.findall(r'main\\((\\d+)', sys.argv[-1])[0]), b'\\x04\\0\\0\\0oops')"
    toy.write_interpreter(tmp_path / "python", instead=garbage)
    with pytest.raises(SimulatorLost, match=r"answered nonsense \(b'oops' is not JSON\)"):
        RemoteSimulator(toy.SUITE, 0)


def test_an_interpreter_that_does_not_start_says_so(tmp_path: Path) -> None:
    toy.write_interpreter(tmp_path / "python", instead="sys.exit(3)")
    with pytest.raises(SimulatorLost, match=r"exit code 3\) died at 'hello'"):
        RemoteSimulator(toy.SUITE, 0)


def test_a_server_of_another_version_is_refused(tmp_path: Path) -> None:
    newer = "from world2act_core.simulators.remote import session; session.VERSION = 2; exec(sys.argv[-1])"
    toy.write_interpreter(tmp_path / "python", instead=newer)
    with pytest.raises(World2ActError, match="the client speaks version 1 .*, this server version 2: let both run"):
        RemoteSimulator(toy.SUITE, 0)


def test_a_closed_one_leaves_no_process_and_says_that_it_is_closed(remote: RemoteSimulator) -> None:
    process = pid_of(remote)
    remote.close()
    assert all_gone([process])
    with pytest.raises(World2ActError, match="closed"):
        remote.observe()


def test_one_that_is_forgotten_ends_too(interpreter: Path) -> None:
    simulator = RemoteSimulator(toy.SUITE, 0)
    process = pid_of(simulator)
    del simulator
    assert all_gone([process])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_parent_leaves_no_process_and_no_shared_memory(tmp_path: Path, how: signal.Signals) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", f"from tests.simulators.remote.toy import parent; parent({str(tmp_path / 'pid')!r})"]
    )
    try:
        until((tmp_path / "pid").exists)
        server = int((tmp_path / "pid").read_text())
        mapped = Path(f"/proc/{server}/maps").read_text()
    finally:
        program.send_signal(how)
        program.wait()
    assert all_gone([server])
    # What has no name goes with the last process that maps it.
    assert "memfd:world2act-simulator" in mapped and "/dev/shm" not in mapped


def test_a_job_whose_simulator_died_is_done_again_and_marked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with WorkerPool(1) as pool:
        (finished,) = pool.run(toy.lose_the_server, [tmp_path / "once"])
    assert finished.attempts == 2
    assert "signal SIGKILL) died at 'step'" in caplog.text and "attempt 1 of 2" in caplog.text


def test_a_job_that_loses_its_simulator_twice_is_named_after_all_others_are_done(tmp_path: Path) -> None:
    jobs = [tmp_path / name for name in ("a", "always", "b")]
    done = []
    with WorkerPool(1) as pool, pytest.raises(World2ActError, match=r"1 job.s. lost their worker .* 2 times.*always"):
        for finished in pool.run(toy.lose_the_server, jobs):
            done.append((finished.job.name, finished.attempts))
    assert sorted(done) == [("a", 2), ("b", 2)]
