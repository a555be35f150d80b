"""What is believed of a model's answer, and why the rest is rejected."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from world2act_core.skills.language.answer import MAX_ANSWER, normalise, read_answer
from world2act_core.skills.types import EventKind, Step, StepKind

GRASP, RELEASE, CONTACT = EventKind.GRASP, EventKind.RELEASE, EventKind.CONTACT
PUT = {"prompt": "put the bowl on the plate", "kind": "put", "events": 2}
PICK = {"prompt": "pick up the bowl", "kind": "pick", "events": 1}
OPEN = {"prompt": "open the drawer", "kind": "manipulate", "events": 1}
MOVE = {"prompt": "move away", "kind": "move", "events": 0}


def said(*steps: Any) -> str:
    return json.dumps({"steps": list(steps)})


def test_a_good_answer_becomes_steps() -> None:
    answer = read_answer(said(OPEN, PUT, MOVE), (CONTACT, GRASP, RELEASE))
    assert answer.steps == (
        Step("open the drawer", StepKind.MANIPULATE, 1),
        Step("put the bowl on the plate", StepKind.PUT, 2),
        Step("move away", StepKind.MOVE, 0),
    )
    assert answer.rejected == ""


@pytest.mark.parametrize(
    "text",
    [
        f"  {said(PUT)}\n\n",
        f"```json\n{said(PUT)}\n```",
        f"```\n{said(PUT)}\n```\n",
        f"<think>First {{it}} grasps.</think>\n{said(PUT)}",
        f"<think>\nhm\n</think>\n\n```json\n{said(PUT)}\n```",
    ],
)
def test_a_reasoning_block_and_a_code_fence_are_taken_off(text: str) -> None:
    assert read_answer(text, (GRASP, RELEASE)).steps[0].prompt == "put the bowl on the plate"


def test_what_was_read_is_normalised() -> None:
    untidy = {**PUT, "prompt": " Put\tthe \u202eBowl\u202c on\u00a0the\u200b  PLATE. "}
    assert read_answer(said(untidy), (GRASP, RELEASE)).steps[0].prompt == "put the bowl on the plate"


def test_a_thing_grasped_to_open_it_takes_two_events() -> None:
    assert read_answer(said({**OPEN, "events": 2}), (GRASP, RELEASE)).rejected == ""


def test_what_stays_in_the_hand_may_leave_the_last_release_over() -> None:
    assert read_answer(said(PICK), (GRASP, RELEASE)).rejected == ""
    assert "take 1 events, 2 were shown" in read_answer(said(PICK), (GRASP, CONTACT)).rejected
    assert "take 1 events, 2 were shown" in read_answer(said(OPEN), (CONTACT, RELEASE)).rejected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "answered nothing"),
        ("<think>only thoughts</think>", "answered nothing"),
        ("The robot picks up the bowl.", "not one JSON object"),
        ("Here it is: " + said(PUT), "not one JSON object"),
        (said(PUT) + " Done.", "not one JSON object"),
        (said(PUT) + said(PUT), "not one JSON object"),
        (said(PUT)[:-1], "not one JSON object"),
        ("[" * 19_000, "not one JSON object"),
        ("1" * 5_000, "not"),
        (" ".join(["x"] * MAX_ANSWER), "are read"),
        ("[]", "the answer is not a JSON object"),
        ("null", "the answer is not a JSON object"),
        ("{}", "lacks 'steps'"),
        (said(), "no steps"),
        ('{"steps": {}}', "no steps"),
        ('{"steps": "put"}', "no steps"),
        ('{"steps": [], "note": 1}', "unknown key, 'note'"),
        ('{"steps": [], "steps": [1]}', "a key twice"),
        (said("put the bowl"), "step 1 is not a JSON object"),
        (said({**PUT, "start_frame": 12}), "step 1 has an unknown key, 'start_frame'"),
        (said({"prompt": "x", "kind": "put"}), "step 1 lacks 'events'"),
        (said({**PUT, "kind": "throw"}), "unknown kind, 'throw'"),
        (said({**PUT, "kind": "PUT"}), "unknown kind"),
        (said({**PUT, "kind": ["put"]}), "unknown kind"),
        (said({**PUT, "events": "2"}), "not a number of events"),
        (said({**PUT, "events": 2.0}), "not a number of events"),
        (said({**PUT, "events": True}), "not a number of events"),
        (said({**PUT, "events": None}), "not a number of events"),
        (said({**PUT, "events": -2}), "not a number of events"),
        (said({**PUT, "prompt": 7}), "is not text"),
        (said({**PUT, "prompt": " \u200b. "}), "is empty"),
        (said({**PUT, "prompt": "put\nthe bowl"}), "several lines"),
        (said({**PUT, "prompt": "put\u2028the bowl"}), "several lines"),
        (said({**PUT, "prompt": "put " * 26}), "has 103 characters"),
        (said({**PUT, "prompt": "<script>put</script>"}), "not plain words"),
        (said({**PUT, "prompt": '{"steps": []}'}), "not plain words"),
    ],
)
def test_a_malformed_answer_is_rejected_with_its_reason(text: str, reason: str) -> None:
    answer = read_answer(text, (GRASP, RELEASE))
    assert answer.steps == ()
    assert reason in answer.rejected
    assert "\n" not in answer.rejected and len(answer.rejected) < 250


@pytest.mark.parametrize(
    ("steps", "events", "reason"),
    [
        ((PUT, PUT, PUT, PUT), (GRASP, RELEASE), "4 steps, at least one too many for 2 events"),
        ((PUT, PICK), (GRASP, RELEASE), "step 2 takes events beyond the 2"),
        (({**PUT, "events": 7},), (GRASP, RELEASE), "step 1 takes events beyond the 2"),
        (({**PUT, "events": 10**4299},), (GRASP, RELEASE), "step 1 takes events beyond the 2"),
        ((PUT,), (), "step 1 takes events beyond the 0"),
        ((PUT,), (GRASP, RELEASE, CONTACT), "take 2 events, 3 were shown"),
        ((MOVE,), (CONTACT,), "take 0 events, 1 were shown"),
        (({**PUT, "events": 1},), (GRASP,), r"step 1 (put) cannot take grasp"),
        ((PUT,), (CONTACT, CONTACT), r"step 1 (put) cannot take contact, contact"),
        ((OPEN, PICK), (GRASP, CONTACT), r"step 1 (manipulate) cannot take grasp"),
        (({**OPEN, "events": 0}, PUT), (GRASP, RELEASE), r"step 1 (manipulate) cannot take no event"),
        (({**MOVE, "events": 1},), (CONTACT,), r"step 1 (move) cannot take contact"),
    ],
)
def test_steps_that_do_not_fit_the_events_are_rejected(
    steps: tuple[Any, ...], events: tuple[EventKind, ...], reason: str
) -> None:
    answer = read_answer(said(*steps), events)
    assert answer.steps == ()
    assert reason in answer.rejected


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing_and_leaves_no_control_character(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once.isprintable()


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_text_at_all_makes_the_check_fail(text: str) -> None:
    answer = read_answer(text, (GRASP, RELEASE))
    assert bool(answer.steps) != bool(answer.rejected)
