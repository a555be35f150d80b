"""Events and steps become clips, or the episode is discarded with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from world2act_core.skills.synchronise import Discard, Synchronised, is_prehensile, synchronise_skills
from world2act_core.skills.types import Decomposition, Event, EventKind, Segmentation, Step, StepKind
from world2act_core.types import Skill

STEP_S = 0.05
TAIL = 20  # control steps in TAIL_S


def join(events: str, plan: list[Step], steps: int = 200, cut: bool = False) -> Synchronised:
    """``"g30 r60 c90"``: a grasp at step 30, a release at 60, a contact that ends at 90; ``cut`` marks the last one."""
    kinds = {"g": EventKind.GRASP, "r": EventKind.RELEASE, "c": EventKind.CONTACT}
    seen = [Event(kinds[word[0]], int(word[1:]), int(word[1:])) for word in events.split()]
    if cut:
        seen[-1] = Event(seen[-1].kind, seen[-1].step, seen[-1].begin, cut=True)
    return synchronise_skills(Segmentation(tuple(seen)), Decomposition(tuple(plan)), steps, STEP_S)


PICK, PLACE = Step("pick up the bowl", StepKind.PICK), Step("place the bowl on the plate", StepKind.PLACE)
PUT, OPEN = Step("put the bowl on the plate", StepKind.PUT), Step("open the drawer", StepKind.MANIPULATE)
GO = Step("go to the sink", StepKind.MOVE)


def test_pick_ends_when_the_object_is_held_and_place_when_it_is_let_go() -> None:
    assert join("g30 r60", [PICK, PLACE]).skills == (
        Skill("pick up the bowl", 0, 30),
        Skill("place the bowl on the plate", 30, 60 + TAIL),
    )


def test_put_takes_a_whole_cycle() -> None:
    assert join("g30 r60 g90 r120", [PUT, PUT]).skills == (
        Skill(PUT.prompt, 0, 60),
        Skill(PUT.prompt, 60, 120 + TAIL),
    )


@pytest.mark.parametrize("events", ["g10 r40 g90 r120", "c40 g90 r120"])
def test_a_drawer_may_be_opened_by_its_handle_or_by_a_push(events: str) -> None:
    assert [skill.end for skill in join(events, [OPEN, PUT]).skills] == [40, 120 + TAIL]


def test_the_tail_ends_with_the_recording() -> None:
    assert join("g30 r60", [PUT], steps=65).skills[-1].end == 65


def test_moving_without_touching_is_the_whole_episode_or_its_end() -> None:
    assert join("", [GO]).skills == (Skill(GO.prompt, 0, 200),)
    assert join("g30 r60", [PUT, GO]).skills[-1] == Skill(GO.prompt, 60, 200)


def test_moving_between_deeds_cannot_be_bounded() -> None:
    found = join("g30 r60", [GO, PUT])
    assert (found.skills, found.discard) == ((), Discard.NO_EVENT)
    assert "go to the sink" in found.reason


def test_a_pick_ends_a_recording_with_the_object_in_the_hand() -> None:
    assert join("g30 r100", [PICK], steps=100, cut=True).skills == (Skill(PICK.prompt, 0, 50),)
    assert join("g30 r90", [PICK], steps=100).discard is Discard.TOO_MANY_EVENTS


@pytest.mark.parametrize(
    ("events", "plan", "why"),
    [
        ("", [PUT], Discard.TOO_FEW_EVENTS),
        ("g30 r60", [PUT, PUT], Discard.TOO_FEW_EVENTS),
        ("g30 r60 g90 r120", [PUT], Discard.TOO_MANY_EVENTS),
        ("c30 c60", [PUT], Discard.KINDS),
        ("g30 r60 c90", [OPEN, PUT], Discard.KINDS),
    ],
)
def test_a_disagreement_discards_the_episode_and_says_what_was_seen(
    events: str, plan: list[Step], why: Discard
) -> None:
    found = join(events, plan)
    assert (found.skills, found.discard) == ((), why)
    assert plan[0].prompt in found.reason


def test_the_number_of_events_that_a_model_gave_is_binding() -> None:
    shown = Step("open the drawer", StepKind.MANIPULATE, events=1)
    assert join("c40", [shown]).skills
    assert join("g10 r40", [shown]).discard is Discard.KINDS


def test_an_instruction_that_was_rejected_discards_the_episode() -> None:
    nothing = synchronise_skills(Segmentation(()), Decomposition((), "it is a question"), 10, STEP_S)
    assert (nothing.discard, nothing.reason) == (Discard.INSTRUCTION, "it is a question")


def test_prehensile_means_taking_and_letting_go_only() -> None:
    assert is_prehensile([PICK, PLACE, PUT])
    assert not is_prehensile([PUT, OPEN])


@given(
    st.lists(st.sampled_from([PICK, PLACE, PUT, OPEN, GO]), max_size=4),
    st.lists(st.sampled_from("grc"), max_size=8),
)
def test_clips_follow_each_other_without_gap_or_the_episode_is_discarded(plan: list[Step], kinds: list[str]) -> None:
    found = join(" ".join(f"{kind}{10 * (i + 1)}" for i, kind in enumerate(kinds)), plan, steps=100)
    assert bool(found.skills) != bool(found.discard)
    starts = [0, *(skill.end for skill in found.skills[:-1])]
    assert [skill.start for skill in found.skills] == starts[: len(found.skills)]
    assert all(skill.start < skill.end <= 100 for skill in found.skills if skill.prompt != GO.prompt)
