"""What a check says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Finding:
    """The answer of one check.

    Attributes:
        status: ``ok``; ``missing`` if it was never installed; ``broken`` if it is there and does not work.
        detail: what was found, in a few words.
        mend: the command that mends it, "" if there is nothing to mend.
    """

    status: Status
    detail: str
    mend: str = ""


@dataclass(frozen=True)
class Check:
    """One question.

    Attributes:
        name: what is examined.
        needed: whether the demo needs it; the rest is optional.
        examine: answers the question.
    """

    name: str
    needed: bool
    examine: Callable[[], Finding]
