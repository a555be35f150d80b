"""Every answer of a language model, on disk: one JSON file a question, so that none is paid for twice.

A file is named by the SHA-256 of the whole question (model, decoding parameters, messages), so a changed prompt or
model asks anew. It holds the question and the raw answer for a person to read; the answer is checked again whenever
it is used, so a stricter check also sees old answers. Several processes may share the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from world2act_core.errors import World2ActError
from world2act_core.skills.types import Usage


@dataclass(frozen=True)
class Reply:
    """What a model said.

    Attributes:
        text: the answer as it came.
        cut_off: the limit of tokens was reached before the answer ended.
        usage: what it cost.
    """

    text: str
    cut_off: bool
    usage: Usage


def default_folder() -> Path:
    """``world2act/language`` in the user's cache folder (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "world2act" / "language"


class AnswerCache:
    """Replies by question.

    Args:
        folder: created if it does not exist.

    Raises:
        World2ActError: the folder cannot be created; said before an answer is paid for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise World2ActError(f"no answers can be kept in {folder} ({error}): name another folder") from error

    def path(self, question: dict[str, Any]) -> Path:
        """The file of a question (JSON values)."""
        return self.folder / f"{hashlib.sha256(_identity(question)).hexdigest()}.json"

    def get(self, question: dict[str, Any]) -> Reply | None:
        """The reply if there is a whole one; a file that is damaged or of another question counts as none."""
        try:
            entry = json.loads(self.path(question).read_text(encoding="utf-8"))
            whole = _identity(entry["question"]) == _identity(question) and isinstance(entry["answer"], str)
            return Reply(entry["answer"], bool(entry["cut_off"]), Usage(**entry["usage"])) if whole else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def put(self, question: dict[str, Any], reply: Reply, rejected: str) -> None:
        """Keep a reply, also one that was rejected and why.

        The file appears whole or not at all, under a name of this process until then: two processes that ask the same
        question at once both write, and one of the equals stays.
        """
        entry = {
            "question": question,
            "answer": reply.text,
            "cut_off": reply.cut_off,
            "rejected": rejected,
            "usage": asdict(reply.usage),
        }
        path = self.path(question)
        temporary = None
        try:
            descriptor, temporary = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".tmp")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(entry, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            raise World2ActError(f"the answer cannot be kept in {self.folder} ({error}): make room there") from error


def _identity(question: dict[str, Any]) -> bytes:
    return json.dumps(question, sort_keys=True).encode()
