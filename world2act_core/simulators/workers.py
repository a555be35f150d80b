"""Jobs in processes of their own, each of which keeps its simulator.

Processes are spawned, never forked: a fork after torch or a renderer has run hangs. A worker that is killed is started
again and its job tried once more, and so is a job that lost its simulator's own process; workers end with their parent,
however that ends.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sized
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from world2act_core.errors import SimulatorLost, World2ActError
from world2act_core.simulators.opening import open_simulator
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.rendering import FAST, RenderSettings

Job = TypeVar("Job")
Result = TypeVar("Result")

ATTEMPTS = 2
"""How often a job is tried whose worker, or whose simulator, dies under it."""
GOODBYE_S = 5.0
"""How long a worker may take to end before it is killed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finished(Generic[Job, Result]):
    """A job with its result. ``attempts`` is 2 if its first worker, or the simulator of it, died."""

    job: Job
    result: Result
    attempts: int


class WorkerContext:
    """What one worker keeps between jobs.

    Attributes:
        index: 0 for the first worker, and so on.
        attempt: how often the present job has been begun, 1 for the first time.
        remote: whether every simulator has a process of its own, also one that could live in this one.
    """

    def __init__(self, index: int, remote: bool = False) -> None:
        self.index, self.remote, self.attempt = index, remote, 1
        self._simulator: Simulator | None = None
        self._simulated: tuple[str, int, int | None, RenderSettings] | None = None
        self._kept: dict[Hashable, Any] = {}

    def simulator(
        self, suite: str, task: int, image_size: int | None = None, rendering: RenderSettings = FAST
    ) -> Simulator:
        """This worker's simulator of a task; made once, and again when another task was simulated in between."""
        wanted = (suite, task, image_size, rendering)
        if self._simulator is None or self._simulated != wanted:
            self.close()
            self._simulator, self._simulated = open_simulator(*wanted, remote=self.remote), wanted
        return self._simulator

    def once(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """What ``make`` gave when it was first asked for under this key: for policies and other slow things."""
        if key not in self._kept:
            self._kept[key] = make()
        result: Result = self._kept[key]
        return result

    def close(self) -> None:
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None


class WorkerPool:
    """A few processes that work through jobs. Use as a context manager; workers start with their first job.

    ::

        with WorkerPool(workers=2) as pool:
            for finished in pool.run(record_one, starts, description="demonstrations"):
                save(finished.result)
    """

    def __init__(self, workers: int = 2, remote: bool = False) -> None:
        """``remote``: whether every simulator has a process of its own, also one that could live in its worker."""
        if workers < 1:
            raise World2ActError(f"a worker pool needs at least one worker, not {workers}")
        self._workers: list[_Worker | None] = [None] * workers
        self._remote = remote

    @property
    def size(self) -> int:
        """How many jobs it works on at a time."""
        return len(self._workers)

    def run(
        self,
        function: Callable[[Job, WorkerContext], Result],
        jobs: Iterable[Job],
        *,
        description: str | None = None,
    ) -> Iterator[Finished[Job, Result]]:
        """Yield every job with its result, in the order in which they finish.

        A job is taken from ``jobs`` only when a worker is free, and a result is kept only until it is yielded. If the
        caller stops early, the workers still at it are ended.

        Args:
            function: ``function(job, context)``, a top-level function of a module; job and result are picklable.
            description: label of the progress bar; None shows none.

        Raises:
            World2ActError: the same job lost its worker or its simulator twice; raised after all other jobs.
            Exception: whatever ``function`` raised, at once.
        """
        from tqdm import tqdm

        total = len(jobs) if isinstance(jobs, Sized) else None
        queue = _Queue(jobs)
        bar = tqdm(total=total, desc=description, disable=description is None, dynamic_ncols=True)
        try:
            while self._hand_out(function, queue):
                for worker in self._next_reports():
                    finished = self._collect(worker, queue)
                    if finished is not None:
                        bar.update()
                        yield finished
        finally:
            bar.close()
            self._end(worker for worker in self._started() if worker.task is not None)
        if queue.lost:
            raise World2ActError(
                f"{len(queue.lost)} job(s) lost their worker or simulator {ATTEMPTS} times, the first "
                f"{queue.lost[0]!r}: look for a lack of memory or a crash in its simulator; every other job is done"
            )

    def close(self) -> None:
        """End the workers; those in the middle of a job are killed."""
        for worker in self._started():
            if worker.task is None:
                worker.say_goodbye()
        self._end([worker for worker in self._started() if worker.task is not None])
        for worker in self._started():
            worker.process.join(GOODBYE_S)
        self._end(self._started())

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _started(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker is not None]

    def _hand_out(self, function: Callable[..., Any], queue: _Queue) -> bool:
        """Give every idle worker a job; False once none is left and none is under way."""
        self._end([worker for worker in self._started() if worker.task is None and not worker.process.is_alive()])
        for index, worker in enumerate(self._workers):
            if (worker is None or worker.task is None) and (task := queue.take()) is not None:
                if worker is None:
                    worker = self._workers[index] = _Worker(index, self._remote)
                worker.begin(function, task)
        return any(worker.task is not None for worker in self._started())

    def _next_reports(self) -> list[_Worker]:
        """The busy workers that have sent something or died, at least one."""
        busy = {worker.connection: worker for worker in self._started() if worker.task is not None}
        return [busy[connection] for connection in wait(list(busy))]  # type: ignore[index]  # only what was given

    def _collect(self, worker: _Worker, queue: _Queue) -> Finished[Any, Any] | None:
        """A busy worker's result; None if it or its simulator died, in which case its job is queued again."""
        assert worker.task is not None
        task, worker.task = worker.task, None
        try:
            answer = worker.connection.recv()
        except (EOFError, ConnectionError):
            worker.process.join(GOODBYE_S)
            _log.warning(
                "worker %d (process %s) died with exit code %s at %r, attempt %d of %d",
                worker.index, worker.process.pid, worker.process.exitcode, task.job, task.attempts, ATTEMPTS,
            )  # fmt: skip
            self._end([worker])
            queue.give_back(task)
            return None
        if isinstance(answer, _Failure) and isinstance(answer.error, SimulatorLost):
            _log.warning("%s: %r, attempt %d of %d", answer.error, task.job, task.attempts, ATTEMPTS)
            queue.give_back(task)
            return None
        if isinstance(answer, _Failure):
            raise answer.error from _WorkerTraceback(answer.text)
        return Finished(task.job, answer, task.attempts)

    def _end(self, workers: Iterable[_Worker]) -> None:
        for worker in list(workers):
            worker.end()
            self._workers[worker.index] = None


@dataclass
class _Task:
    job: Any
    attempts: int = 0


class _Queue:
    """Jobs not yet begun: those whose worker died first, then the caller's."""

    def __init__(self, jobs: Iterable[Any]) -> None:
        self._jobs = iter(jobs)
        self._again: deque[_Task] = deque()
        self.lost: list[Any] = []

    def take(self) -> _Task | None:
        task = self._again.popleft() if self._again else next((_Task(job) for job in self._jobs), None)
        if task is not None:
            task.attempts += 1
        return task

    def give_back(self, task: _Task) -> None:
        if task.attempts < ATTEMPTS:
            self._again.append(task)
        else:
            self.lost.append(task.job)


class _Worker:
    """The parent's side of one process."""

    def __init__(self, index: int, remote: bool) -> None:
        self.index = index
        self.task: _Task | None = None
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=_work, args=(theirs, index, remote), name=f"world2act-worker-{index}", daemon=True
        )
        with interrupts_held_back():
            self.process.start()
        theirs.close()  # or the parent would never see its end of file

    def begin(self, function: Callable[..., Any], task: _Task) -> None:
        with contextlib.suppress(ConnectionError):  # it died while idle: collecting finds that and queues the job again
            self.connection.send((function, task.job, task.attempts))
        self.task = task

    def say_goodbye(self) -> None:
        with contextlib.suppress(ConnectionError):  # it is gone already
            self.connection.send(None)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


@dataclass(frozen=True)
class _Failure:
    """An exception on its way to the parent."""

    error: Exception
    text: str


class _WorkerTraceback(Exception):
    """Where in the worker the exception came from; shown as its cause."""

    def __str__(self) -> str:
        return "\n" + str(self.args[0])


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Processes that are started meanwhile do not answer to Ctrl-C, which reaches the whole process group: only the
    parent does, and ends them."""
    resource_tracker.ensure_running()  # starting it would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, index: int, remote: bool) -> None:
    """The child: do jobs until told to stop or until nobody is left to tell."""
    end_with_parent()
    _use_one_thread()
    context = WorkerContext(index, remote)
    try:
        while (message := connection.recv()) is not None:
            function, job, context.attempt = message
            try:
                connection.send(function(job, context))
            except Exception as error:  # noqa: BLE001 - raised again in the parent
                connection.send(_failure(error))
    except (EOFError, ConnectionError):
        return  # the parent closed its end
    finally:
        context.close()


def _failure(error: Exception) -> _Failure:
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - any error at all means that it cannot travel
        return _Failure(RuntimeError(f"{type(error).__name__}: {error}"), text)
    return _Failure(error, text)


def end_with_parent() -> None:
    """From now on this process ends when its parent does: a killed one cannot say goodbye, but a pipe of it closes."""

    def wait_for_it() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait_for_it, daemon=True).start()


def _use_one_thread() -> None:
    """Workers share the cores among themselves; libraries that would each take all of them get in each other's way."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
