"""The grammar splits instructions: those of LIBERO and RoboCasa, and how else people say such things."""

from __future__ import annotations

import contextlib
import io
import json
import time
from pathlib import Path

import pytest

from tests.skills.robocasa_instructions import ADDED, ATOMIC, filled
from world2act_core.skills.grammar import GrammarDecomposer

LIBERO = json.loads((Path(__file__).parent / "libero_instructions.json").read_text())
"""Every instruction of LIBERO with its steps, each checked by a person."""
SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90")


def steps(instruction: str) -> list[tuple[str, str]]:
    decomposition = GrammarDecomposer().decompose(instruction, ())
    assert not decomposition.rejected, decomposition.rejected
    return [(step.kind.value, step.prompt) for step in decomposition.steps]


def lines(instruction: str) -> list[str]:
    """Steps as "kind: prompt"."""
    return [f"{kind}: {prompt}" for kind, prompt in steps(instruction)]


# The benchmarks


@pytest.mark.parametrize("instruction", LIBERO)
def test_every_instruction_of_libero_is_split(instruction: str) -> None:
    assert steps(instruction) == [tuple(step) for step in LIBERO[instruction]]


def test_the_table_holds_every_instruction_of_the_installed_libero() -> None:
    pytest.importorskip("libero")
    from world2act_core.simulators.libero_package import import_libero

    suites = import_libero("libero.libero.benchmark").get_benchmark_dict()
    told = []
    for name in SUITES:
        with contextlib.redirect_stdout(io.StringIO()):
            suite = suites[name]()
        told += [suite.get_task(i).language for i in range(suite.get_num_tasks())]
    assert len(told) == 130
    assert set(told) == set(LIBERO)


@pytest.mark.parametrize("task", ATOMIC)
def test_every_atomic_task_of_robocasa_is_split(task: str) -> None:
    for instruction, expected in filled(ATOMIC[task]):
        assert steps(instruction) == expected


@pytest.mark.parametrize("task", ATOMIC | ADDED)
def test_the_sentences_of_robocasa365_are_split(task: str) -> None:
    for instruction, expected in filled((ATOMIC | ADDED)[task]):
        assert steps(f"{instruction[0].upper()}{instruction[1:]}.") == expected


def test_the_24_atomic_tasks_are_all_there() -> None:
    assert len(ATOMIC) == 24 + 1


def test_the_example_of_the_paper() -> None:
    assert lines("pick the hot dog from the cabinet and place it on the counter") == [
        "pick: pick the hot dog from the cabinet",
        "place: place the hot dog on the counter",
    ]


def test_libero_takes_less_than_a_millisecond_an_instruction() -> None:
    start = time.process_time()
    for instruction in LIBERO:
        steps(instruction)
    assert (time.process_time() - start) / len(LIBERO) < 1e-3


# What is said differently and means the same

DRAWER = ["manipulate: open the top drawer", "put: put the bowl in the top drawer", "manipulate: close the top drawer"]


@pytest.mark.parametrize(
    "instruction",
    [
        "open the top drawer, put the bowl in it and close it",
        "Open the top drawer, then put the bowl in it, and then close it.",
        "First open the top drawer, after that put the bowl in it, finally close it!",
        "open the top drawer. Put the bowl in it; afterwards, close it",
        "Please open the top drawer,  put the bowl in it and now close it, please.",
        "Could you open the top drawer, put the bowl in it and close it?",
        "open the top drawer and put the bowl in it before closing it",
        "before closing the top drawer, put the bowl in it after opening it",
        "open_the_top_drawer,_put_the_bowl_in_it_and_close_it",
        "open the top drawer & put the bowl in it\nand\tclose it",
    ],
)
def test_steps_are_told_apart_however_they_are_strung_together(instruction: str) -> None:
    assert lines(instruction) == DRAWER


@pytest.mark.parametrize("verb", ["pick", "pick up", "grab", "take", "lift", "grasp"])
def test_verbs_of_taking(verb: str) -> None:
    assert lines(f"{verb} the mug") == [f"pick: {verb} the mug"]


@pytest.mark.parametrize("verb", ["place", "put", "set", "drop", "release", "lay", "move", "hang", "insert"])
def test_what_was_picked_up_is_placed_whatever_the_verb(verb: str) -> None:
    assert lines(f"pick up the mug and {verb} it on the rack")[1] == f"place: {verb} the mug on the rack"


@pytest.mark.parametrize(
    "verb", ["put", "place", "set", "drop", "move", "bring", "transfer", "insert", "hang", "stack"]
)
def test_what_was_not_picked_up_is_a_whole_cycle(verb: str) -> None:
    assert lines(f"{verb} the mug on the rack") == [f"put: {verb} the mug on the rack"]


@pytest.mark.parametrize(
    "verb",
    [
        "open",
        "close",
        "shut",
        "push",
        "pull",
        "slide",
        "rotate",
        "press",
        "flip",
        "wipe",
        "turn on",
        "switch off",
        "polish",
    ],
)
def test_verbs_of_manipulation_known_or_not(verb: str) -> None:
    assert lines(f"{verb} the knob") == [f"manipulate: {verb} the knob"]


@pytest.mark.parametrize(
    ("instruction", "kind"),
    [
        ("move to the sink", "move"),
        ("go to the sink", "move"),
        ("drive to the sink", "move"),
        ("navigate to the sink", "move"),
        ("move the gripper to the sink", "move"),
        ("move the mug to the sink", "put"),
        ("move the mug to the left of the plate", "put"),
        ("take the mug to the sink", "put"),
        ("take the mug to the left of the plate", "pick"),
        ("set the mug on the plate", "put"),
        ("set the timer", "manipulate"),
        ("release the mug", "place"),
        ("put the mug down", "place"),
        ("carefully open the drawer", "manipulate"),
        ("turn the stove on", "manipulate"),
    ],
)
def test_a_single_skill_is_left_alone(instruction: str, kind: str) -> None:
    assert lines(instruction) == [f"{kind}: {instruction}"]


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("pick the bowl up and set it down on the plate",
         ["pick: pick the bowl up", "place: set the bowl down on the plate"]),
        ("pick bowl and place on plate", ["pick: pick bowl", "place: place bowl on plate"]),
        ("pick up a mug and place it on a plate", ["pick: pick up a mug", "place: place the mug on a plate"]),
        ("pick up the mug and then release it", ["pick: pick up the mug", "place: release the mug"]),
        ("pick up the pot that is on the stove and place the pot in the sink",
         ["pick: pick up the pot that is on the stove", "place: place the pot in the sink"]),
        ("pick up the sponge and wipe the table", ["pick: pick up the sponge", "manipulate: wipe the table"]),
        ("after opening the microwave, put the mug inside",
         ["manipulate: open the microwave", "put: put the mug inside the microwave"]),
        ("put the mug in the microwave after opening it",
         ["manipulate: open the microwave", "put: put the mug in the microwave"]),
        ("put the tray in the freezer. Close the freezer after placing the tray.",
         ["put: put the tray in the freezer", "manipulate: close the freezer"]),
    ],
)  # fmt: skip
def test_the_object_is_named_in_every_step(instruction: str, expected: list[str]) -> None:
    assert lines(instruction) == expected


# Several things


@pytest.mark.parametrize(
    ("instruction", "prompts"),
    [
        ("put the milk, the soup and the ham in the basket",
         ["put the milk in the basket", "put the soup in the basket", "put the ham in the basket"]),
        ("put the milk, soup, and ham in the basket",
         ["put the milk in the basket", "put the soup in the basket", "put the ham in the basket"]),
        ("put both the yellow and white mug and the red mug on the plate",
         ["put the yellow and white mug on the plate", "put the red mug on the plate"]),
        ("put both of the mugs on the plate", ["put the first mug on the plate", "put the second mug on the plate"]),
        ("put the two moka pots on the stove",
         ["put the first moka pot on the stove", "put the second moka pot on the stove"]),
        ("put both boxes of berries on the shelf",
         ["put the first box of berries on the shelf", "put the second box of berries on the shelf"]),
        ("put the white mug on the left plate and the red mug on the right plate",
         ["put the white mug on the left plate", "put the red mug on the right plate"]),
        ("put the fork between the plate and the bowl and the spoon on the napkin",
         ["put the fork between the plate and the bowl", "put the spoon on the napkin"]),
        ("put the salt and pepper shaker in the cabinet", ["put the salt and pepper shaker in the cabinet"]),
        ("move the mug and the bowl from the shelf to the sink",
         ["move the mug from the shelf to the sink", "move the bowl from the shelf to the sink"]),
        ("open the top and bottom drawers of the cabinet",
         ["open the top drawer of the cabinet", "open the bottom drawer of the cabinet"]),
        ("press 5 on the keypad", ["press 5 on the keypad"]),
        ("close both drawers", ["close the first drawer", "close the second drawer"]),
        ("put the left and the right bowl in the sink",
         ["put the left bowl in the sink", "put the right bowl in the sink"]),
    ],
)  # fmt: skip
def test_every_thing_has_a_step_of_its_own(instruction: str, prompts: list[str]) -> None:
    assert [prompt for _, prompt in steps(instruction)] == prompts


def test_one_gripper_carries_one_thing_after_the_other() -> None:
    assert lines("take the egg and the ham from the fridge, open the bin and put them in it") == [
        "manipulate: open the bin",
        "pick: take the egg from the fridge",
        "place: put the egg in the bin",
        "pick: take the ham from the fridge",
        "place: put the ham in the bin",
    ]


def test_what_is_stacked_is_carried_together() -> None:
    assert lines("stack the left bowl on the right bowl and place them in the tray") == [
        "put: stack the left bowl on the right bowl",
        "put: place the left bowl and the right bowl in the tray",
    ]


# What "it" is


@pytest.mark.parametrize(
    ("instruction", "last"),
    [
        ("put the bowl in the microwave and close it", "close the microwave"),
        ("put the bowl in the bread bin and close it", "close the bread bin"),
        ("put the box in the drawer and close it", "close the drawer"),
        ("put the box on the table and open it", "open the box"),
        ("put the pan on the stove and turn it on", "turn the stove on"),
        ("pick up the box and open it", "open the box"),
        ("push the mug to the plate and rotate it", "rotate the mug"),
        ("turn on the stove and put the pan on it", "put the pan on the stove"),
        ("open the drawer of the desk and put the pen in it", "put the pen in the drawer of the desk"),
        ("close the drawer of the desk and put the pen on it", "put the pen on the desk"),
        ("close the drawer of the desk and put the pen on top", "put the pen on top of the desk"),
        ("open the bin, put the egg in it and put the ham in it", "put the ham in the bin"),
        ("open the bin, pick up the egg and place it in it", "place the egg in the bin"),
        ("put the egg on the plate and put the ham there", "put the ham on the plate"),
        ("go to the sink and put the mug in it", "put the mug in the sink"),
        ("pick up one of the mugs and place it on the plate", "place the mug on the plate"),
        ("rinse the pot briefly and place it on the stove", "place the pot on the stove"),
    ],
)
def test_a_pronoun_stands_for_what_fits_the_verb(instruction: str, last: str) -> None:
    assert steps(instruction)[-1][1] == last
