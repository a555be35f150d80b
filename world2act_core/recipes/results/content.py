"""The page's content as JSON: what ``logic.js`` filters, pools and compares, and ``view.js`` shows."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from world2act_core.recipes.results.collect import Collection, belongings, commit_times, dated, identity
from world2act_core.recipes.results.rows import Row, Stored


def content(found: Collection, beside: Path) -> dict[str, Any]:
    """Everything that the page knows.

    Args:
        beside: folder of the page; links are relative to it.

    Returns:
        ``files``: one entry a file of results; ``rows``: one a policy and task, which names its file by number and its
        starts by their numbers in ``starts``; ``unread``: file and reason; ``other``: how many JSON files hold no
        results. A result that is stored several times has one row, which names the copies.
    """
    files: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    numbers: dict[str, int] = {}  # start → its number
    seen: dict[Any, dict[str, Any]] = {}
    owned, times = belongings(found), commit_times()
    for stored in found.stored:
        videos, links = _media(stored, owned[stored.home], beside)
        fresh = []
        for row in stored.rows:
            tried = tuple((trial.start_id, trial.policy, trial.success, trial.seconds) for trial in row.trials)
            key = (stored.kind, row.part, tried, json.dumps(identity(stored), sort_keys=True))
            if key in seen:
                seen[key]["copies"].append(str(stored.path))
            else:
                seen[key] = _row(row, len(files), numbers, videos, dated(stored, row.commit, times))
                fresh.append(seen[key])
        if fresh:
            files.append(_file(stored, links, beside))
            rows += fresh
    unread = [{"file": str(path), "href": link(path, beside), "why": why} for path, why in found.unread.items()]
    return {"starts": list(numbers), "files": files, "rows": rows, "unread": unread, "other": found.other}


def link(path: Path, beside: Path) -> str:
    """The relative URL of a file, seen from a folder."""
    return quote(os.path.relpath(path.absolute(), beside.absolute()))


def _file(stored: Stored, links: Sequence[Mapping[str, str]], beside: Path) -> dict[str, Any]:
    return {
        "path": str(stored.path),
        "href": link(stored.path, beside),
        "kind": stored.kind,
        "embodiment": stored.embodiment,
        "assets": stored.assets,
        "facts": dict(stored.facts),
        "links": list(links),
    }


def _row(
    row: Row, file: int, numbers: dict[str, int], videos: Mapping[str, Mapping[str, str]], date: tuple[str, str]
) -> dict[str, Any]:
    n = len(row.trials)
    return {
        "file": file,
        "suite": row.suite,
        "task": row.task,
        "words": row.words,
        "policy": row.policy,
        "part": row.part,
        "commit": row.commit,
        "date": date[0],
        "datedBy": date[1],
        "successes": sum(trial.success for trial in row.trials),
        "n": n,
        "steps": sum(trial.steps for trial in row.trials) / n,
        "seconds": sum(trial.seconds for trial in row.trials) / n,
        "metrics": {name: list(mean) for name, mean in row.metrics.items()},
        "starts": [numbers.setdefault(trial.start_id, len(numbers)) for trial in row.trials],
        "outcomes": "".join("1" if trial.success else "0" for trial in row.trials),
        "videos": [videos[trial.start_id] for trial in row.trials if trial.start_id in videos],
        "copies": [],
    }


def _media(
    stored: Stored, media: Sequence[Path], beside: Path
) -> tuple[dict[str, dict[str, str]], list[dict[str, str]]]:
    """Start → the video of it, and what shows no start that the result has, as links."""
    if not media:
        return {}, []
    names = {_plain(trial.start_id): trial.start_id for row in stored.rows for trial in row.trials}
    of_starts: dict[str, dict[str, str]] = {}
    others: list[dict[str, str]] = []
    for path in media:
        entry = {"name": path.stem if path.suffix != ".html" else path.name, "href": link(path, beside)}
        start = names.get(_longest(_plain(path.stem), names)) if path.suffix != ".html" else None
        if start is None or start in of_starts:
            others.append(entry)
        else:
            of_starts[start] = entry
    return of_starts, others


def _plain(text: str) -> str:
    """A start's id as files spell it: ``libero_goal/8/i3`` is ``libero_goal-8-i3``."""
    return re.sub(r"[^\w.]+", "-", text)


def _longest(stem: str, names: Mapping[str, str]) -> str:
    """The longest part of a file's name, between hyphens, that names a start; "" if none does."""
    words = stem.split("-")
    for length in range(len(words), 0, -1):
        for first in range(len(words) - length + 1):
            part = "-".join(words[first : first + length])
            if part in names:
                return part
    return ""
