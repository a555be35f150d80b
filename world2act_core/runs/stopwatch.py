"""How long a stage has taken, over all its resumes, also where a kill gave it no time to say so."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

BEAT = 5.0
"""Seconds between two notes: a kill loses at most these."""


class Stopwatch:
    """Counts while its context is open, from what the file says was spent before.

    Args:
        path: JSON file with the seconds so far.
    """

    def __init__(self, path: Path, beat: float = BEAT) -> None:
        self._path, self._beat = path, beat
        self._before = float(json.loads(path.read_text())) if path.exists() else 0.0
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._note_at_every_beat, name=f"stopwatch {path}", daemon=True)

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def __enter__(self) -> Stopwatch:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        self._note()

    def _note_at_every_beat(self) -> None:
        while not self._ended.wait(self._beat):
            self._note()

    def _note(self) -> None:
        temporary = self._path.with_name(self._path.name + ".tmp")
        temporary.write_text(json.dumps(self.seconds))
        os.replace(temporary, self._path)
