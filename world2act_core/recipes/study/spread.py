"""Jobs spread over processes of this machine, or over machines with Ray."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol, cast

from world2act_core.errors import MissingExtraError
from world2act_core.simulators.workers import end_with_parent, interrupts_held_back

Say = Callable[[str], None]


class Job(Protocol):
    """Something to be done elsewhere; it can be pickled."""

    @property
    def name(self) -> str: ...

    def work(self, say: Say) -> None:
        """Do it; ``say`` reports progress in single lines."""


def in_processes(jobs: Sequence[Job], processes: int, logs: Path, say: Say) -> Iterator[tuple[Job, str]]:
    """Do every job in a process of its own, so many at a time; yield each with its error, "" if it was done.

    The processes end with this one, however it ends. What they print goes into ``logs/NAME.log``; what they say is said
    here, with the job's name in front.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting = deque(jobs)
    running: dict[Connection, tuple[Job, Any]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                job = waiting.popleft()
                connection, process = _start(job, logs / f"{job.name}.log")
                running[connection] = job, process
            for ready in wait(list(running)):
                connection = cast(Connection, ready)  # only what was given
                job, process = running[connection]
                ended, text = _hear(connection)
                if not ended:
                    say(f"[{job.name}] {text}")
                    continue
                del running[connection]
                process.join()
                connection.close()
                yield job, _error(text, process.exitcode, logs / f"{job.name}.log")
    finally:
        for _, process in running.values():
            process.kill()
            process.join()


def on_ray(jobs: Sequence[Job], address: str, say: Say) -> Iterator[tuple[Job, str]]:
    """Do every job as a task of a Ray cluster, one core each; yield each with its error, "" if it was done.

    Args:
        address: as ``ray.init`` takes it: ``auto``, ``local`` or ``ray://HOST:10001``.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtraError("Ray is not installed: add the extra with pip install 'world2act[study]'") from None
    ray.init(address=address)
    try:
        task = ray.remote(num_cpus=1, max_retries=1)(_on_ray)
        pending = {task.remote(job): job for job in jobs}
        while pending:
            (done,), _ = ray.wait(list(pending), num_returns=1)
            job = pending.pop(done)
            try:
                ray.get(done)
                yield job, ""
            except ray.exceptions.RayError as error:
                say(f"[{job.name}] {error}")
                yield job, str(error).strip().splitlines()[-1]
    finally:
        ray.shutdown()


def _on_ray(job: Job) -> None:
    job.work(lambda text: print(f"[{job.name}] {text}", flush=True))  # Ray shows it where the study was started


def _start(job: Job, log: Path) -> tuple[Connection, Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, job, log), name=job.name)
    with interrupts_held_back():
        process.start()
    theirs.close()  # or its end would never be seen here
    return ours, process


def _child(connection: Connection, job: Job, log: Path) -> None:
    end_with_parent()
    with log.open("ab", buffering=0) as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    try:
        job.work(lambda text: connection.send(("said", text)))
    except Exception as error:  # noqa: BLE001 - said by the parent
        traceback.print_exc()
        connection.send(("failed", str(error) or type(error).__name__))
    else:
        connection.send(("done", ""))


def _hear(connection: Connection) -> tuple[bool, str | None]:
    """Whether a job has ended, and what it said; None if it ended without a word."""
    try:
        kind, text = connection.recv()
    except EOFError:
        return True, None
    return kind != "said", text


def _error(text: str | None, code: int, log: Path) -> str:
    if text is None:
        return f"its process ended with code {code}: see {log}"
    return f"{text}: see {log}" if text else ""
