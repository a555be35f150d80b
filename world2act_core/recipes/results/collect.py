"""Find every stored result below some folders; what cannot be read is told with the reason, never dropped."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from world2act_core.errors import World2ActError, printable
from world2act_core.recipes.results.readers import NO_RESULTS, READERS
from world2act_core.recipes.results.rows import Stored

NAMES = ("evaluation.json", "results.json", "gate.json")
"""Files that hold results whatever became of their content; others are known by their schema."""
CELLS = "cells"
VIDEOS = (".mp4", ".webm")
PAGES = (".html",)
LOG = "trials.jsonl"


@dataclass
class Collection:
    """What was found.

    Attributes:
        unread: file or folder → why it could not be read.
        other: number of JSON files that hold no results.
        media: videos and pages.
    """

    stored: list[Stored] = field(default_factory=list)
    unread: dict[Path, str] = field(default_factory=dict)
    other: int = 0
    media: list[Path] = field(default_factory=list)


def collect(folders: Iterable[Path], out: Path | None = None) -> Collection:
    """Read every result below folders, with a progress bar when it takes long.

    Folders whose names begin with a dot are left alone, links to folders are not followed.

    Args:
        out: the page that is being made; an earlier one is not one of the results' pages.

    Raises:
        World2ActError: a folder does not exist.
    """
    from tqdm import tqdm

    found = Collection()
    files = list(_files(folders, found))
    finished = {path.parent for path in files if path.name in NAMES}
    for path in tqdm(files, desc="results", unit=" files", delay=1, disable=None, dynamic_ncols=True):
        if path.suffix == ".json":
            _read_into(found, path)
        elif path.name == LOG and path.parent not in finished:
            found.unread[path] = "an evaluation that has not ended: give its command again to go on"
        elif path.suffix in VIDEOS or (path.suffix in PAGES and (out is None or path.resolve() != out.resolve())):
            found.media.append(path)
    return found


def _files(folders: Iterable[Path], found: Collection) -> Iterator[Path]:
    """Each file once, in order of names, however the folders overlap."""
    seen: set[str] = set()

    def failed(error: OSError) -> None:
        found.unread[Path(str(error.filename))] = f"cannot be opened ({error.strerror}): mend its permissions"

    for given in folders:
        if not given.exists():
            raise World2ActError(f"{given} does not exist: name folders in which results lie, e.g. runs eval")
        walked = os.walk(given, onerror=failed) if given.is_dir() else [(str(given.parent), [], [given.name])]
        for folder, below, names in walked:
            below[:] = sorted(name for name in below if not name.startswith("."))
            real = os.path.realpath(folder)
            for name in sorted(names):
                if (place := os.path.join(real, name)) not in seen:
                    seen.add(place)
                    yield Path(folder, name)


def _read_into(found: Collection, path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        found.unread[path] = f"cannot be opened ({error.strerror}): mend its permissions"
        return
    if path.name not in NAMES and path.parent.name != CELLS and b'"world2act.' not in content:
        found.other += 1
        return
    try:
        raw = json.loads(content)
    except ValueError as error:
        found.unread[path] = f"is not JSON ({error}): make it again"
        return
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if isinstance(schema, str) and schema.startswith(NO_RESULTS):
        found.other += 1
    elif schema not in READERS:
        known = ", ".join(READERS)
        found.unread[path] = (
            f"has schema {printable(repr(schema))}, expected one of {known}: read it with what wrote it"
        )
    else:
        try:
            found.stored.append(READERS[schema](path, raw))
        except World2ActError as error:
            found.unread[path] = str(error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # let through by the reader, of odd kind
            found.unread[path] = f"is incomplete or of the wrong kind (at {error!r}): make it again"


def commit_times() -> dict[str, str]:
    """Commit → when it was made, ISO 8601, of the code's own history; {} outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "log", "--all", "--format=%H %cI"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split(" ", 1) for line in done.stdout.splitlines()) if done.returncode == 0 else {}


def dated(stored: Stored, commit: str, times: Mapping[str, str]) -> tuple[str, str]:
    """When a result was made, ISO 8601 in UTC, and by what that is known: ``finished``, ``commit`` or ``file``.

    Files of before results were stamped say only which commit made them; a file's own time is that of its last copy.
    """
    for text, by in ((stored.finished, "finished"), (times.get(commit, ""), "commit")):
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            continue
        return moment.astimezone(timezone.utc).isoformat(timespec="seconds"), by
    changed = datetime.fromtimestamp(stored.path.stat().st_mtime, timezone.utc)
    return changed.isoformat(timespec="seconds"), "file"


def belongings(found: Collection) -> dict[Path, list[Path]]:
    """Home of a result → videos and pages that belong to it: those below it that are not nearer to another result."""
    owned: dict[Path, list[Path]] = {stored.home: [] for stored in found.stored}
    for media in found.media:
        owner = next((folder for folder in media.parents if folder in owned), None)
        if owner is not None:
            owned[owner].append(media)
    return owned


def identity(stored: Stored) -> Any:
    """What makes two files of the same trials copies of one result; JSON values."""
    names = {"evaluation": "policy", "run": "details", "gate": "digests", "study": "plan_sha256"}
    return stored.facts.get(names[stored.kind])
