"""What is believed of a model's answer: nothing that was not checked.

An answer is used whole or not at all. What is wrong with it is said in one sentence.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from world2act_core.skills.language.schema import MAX_PROMPT, max_steps
from world2act_core.skills.types import TAKES, Decomposition, EventKind, Step, StepKind

# Where a server does not take a model's reasoning out of the answer, it comes first in this block; and models wrap JSON
# in a code fence. Both are marks of form, so they are taken off. Any other text around the object is not.
_REASONING = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_CODE_FENCE = "```"
MAX_ANSWER = 20_000
"""Characters; the longest answer that fits the schema stays far below."""
_WRITTEN = re.compile(r"[^\W_](?:[\w ,.;:'&%+()/-]|\u2019)*")  # begins with a letter or digit; no markup, no quotes


class _Unusable(Exception):
    """Why an answer cannot be used."""


def read_answer(text: str, events: Sequence[EventKind]) -> Decomposition:
    """The steps that a model answered, or the reason why its answer is rejected.

    Args:
        text: all that the model said.
        events: what it was shown.
    """
    try:
        steps = _steps(_parse(text), events)
        _check_events(steps, tuple(events))
    except _Unusable as reason:
        return Decomposition((), rejected=str(reason))
    return Decomposition(tuple(steps))


def _parse(text: str) -> Any:
    reasoning = _REASONING.match(text)
    text = text[reasoning.end() if reasoning else 0 :].strip()
    if text.startswith(_CODE_FENCE) and text.endswith(_CODE_FENCE):
        text = text.removeprefix(_CODE_FENCE).removeprefix("json").removesuffix(_CODE_FENCE).strip()
    if not text:
        raise _Unusable("the model answered nothing")
    if len(text) > MAX_ANSWER:
        raise _Unusable(f"the answer has {len(text)} characters, at most {MAX_ANSWER} are read: {_quoted(text)}")
    try:
        return json.loads(text, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:
        raise _Unusable(f"the answer is not one JSON object ({_short(str(error))}): {_quoted(text)}") from error


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise _Unusable("the answer gives a key twice")
    return content


def _steps(content: Any, events: Sequence[EventKind]) -> list[Step]:
    _check_keys(content, {"steps"}, "the answer")
    entries = content["steps"]
    if not isinstance(entries, list) or not entries:
        raise _Unusable("the answer has no steps")
    if len(entries) > max_steps(events):
        raise _Unusable(f"the answer has {len(entries)} steps, at least one too many for {len(events)} events")
    return [_step(entry, f"step {number}") for number, entry in enumerate(entries, start=1)]


def _step(entry: Any, where: str) -> Step:
    _check_keys(entry, {"prompt", "kind", "events"}, where)
    prompt, kind, events = entry["prompt"], entry["kind"], entry["events"]
    if kind not in [known.value for known in StepKind]:
        raise _Unusable(f"{where} is of an unknown kind, {_quoted(str(kind))}")
    if not isinstance(events, int) or isinstance(events, bool) or events < 0:
        raise _Unusable(f"{where} takes {_quoted(str(events))} events, which is not a number of events")
    return Step(_prompt(prompt, where), StepKind(kind), events)


def _prompt(prompt: Any, where: str) -> str:
    if not isinstance(prompt, str):
        raise _Unusable(f"the prompt of {where} is not text")
    if len(prompt.strip().splitlines()) > 1:
        raise _Unusable(f"the prompt of {where} has several lines")
    text = normalise(prompt)
    if not text:
        raise _Unusable(f"the prompt of {where} is empty")
    if len(text) > MAX_PROMPT:
        raise _Unusable(f"the prompt of {where} has {len(text)} characters, at most {MAX_PROMPT} are allowed")
    if not _WRITTEN.fullmatch(text):
        raise _Unusable(f"the prompt of {where} is not plain words: {_quoted(text)}")
    return text


def normalise(prompt: str) -> str:
    """Lower case, single spaces, no final stop, no control characters (also the invisible ones that turn text)."""
    spaced = "".join(" " if letter.isspace() else letter for letter in prompt)
    visible = "".join(letter for letter in spaced if not unicodedata.category(letter).startswith("C"))
    return " ".join(unicodedata.normalize("NFC", visible.lower()).split()).rstrip(" .")


def _check_keys(content: Any, expected: set[str], where: str) -> None:
    if not isinstance(content, dict):
        raise _Unusable(f"{where} is not a JSON object")
    if missing := sorted(expected - set(content)):
        raise _Unusable(f"{where} lacks {missing[0]!r}")
    if unknown := sorted(set(content) - expected):
        raise _Unusable(f"{where} has an unknown key, {_quoted(unknown[0])}")


def _check_events(steps: Sequence[Step], events: tuple[EventKind, ...]) -> None:
    taken = 0
    for number, step in enumerate(steps, start=1):
        count = step.events or 0
        kinds = events[taken : taken + count]
        if len(kinds) < count:
            raise _Unusable(f"step {number} takes events beyond the {len(events)} that were shown")
        if kinds not in TAKES[step.kind]:
            seen = ", ".join(kind.value for kind in kinds) or "no event"
            raise _Unusable(f"step {number} ({step.kind.value}) cannot take {seen}")
        taken += count
    # "pick up the mug" ends with the mug in the hand; the recording may go on until it is let go. Whether the release
    # was really no deed is for synchronisation to say, which knows whether it was cut.
    in_hand = steps[-1].kind is StepKind.PICK and events[taken:] == (EventKind.RELEASE,)
    if taken < len(events) and not in_hand:
        raise _Unusable(f"the steps take {taken} events, {len(events)} were shown")


def _quoted(text: str) -> str:
    return repr(_short(text))


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
