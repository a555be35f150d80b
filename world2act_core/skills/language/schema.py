"""What an answer may look like: one JSON object with the steps, specialised to the events that were shown.

A step is ``{"prompt": text, "kind": one of StepKind, "events": how many of the shown events it takes}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from world2act_core.skills.types import TAKES, EventKind, StepKind

MAX_PROMPT = 100
"""Characters of one step's prompt: the longest LIBERO instruction, which is a whole task, has 79."""


def max_steps(events: Sequence[EventKind]) -> int:
    """Every step takes an event, except that the last one may be a move that leaves none."""
    return len(events) + 1


def possible_steps(events: Sequence[EventKind]) -> list[tuple[StepKind, int]]:
    """Kinds of step that can occur where these events were seen, each with how many of them it takes."""
    found = []
    for kind, alternatives in TAKES.items():
        for taken in alternatives:
            starts = range(len(events) - len(taken) + 1)
            if any(tuple(events[start : start + len(taken)]) == taken for start in starts):
                found.append((kind, len(taken)))
    return found


def answer_schema(events: Sequence[EventKind]) -> dict[str, Any]:
    """JSON schema of the answers worth checking further: all lengths and numbers bounded.

    A JSON schema cannot count the events of all steps together; ``answer.read_answer`` does.
    """
    return _closed(
        steps={
            "type": "array",
            "minItems": 1,
            "maxItems": max_steps(events),
            "items": {"anyOf": [_step(kind, count) for kind, count in possible_steps(events)]},
        }
    )


def _step(kind: StepKind, count: int) -> dict[str, Any]:
    # The prompt comes first: a model that has written what is done classifies it better than one that guesses ahead.
    prompt = {"type": "string", "pattern": f"^[a-z0-9][a-z0-9 ,'()/-]{{0,{MAX_PROMPT - 1}}}$"}
    return _closed(prompt=prompt, kind={"const": kind.value}, events={"const": count})


def _closed(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
