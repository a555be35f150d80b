"""What demonstrators do with drawers, stoves and plates in which LIBERO task."""

from __future__ import annotations

import numpy as np

from world2act_core.simulators.demonstrators.chores import Chore
from world2act_core.simulators.demonstrators.deeds import InTurn
from world2act_core.simulators.demonstrators.drawers import CloseDrawer, Drawer, OpenDrawer
from world2act_core.simulators.demonstrators.grips import Rim
from world2act_core.simulators.demonstrators.pick_and_place import Delivery, Place
from world2act_core.simulators.demonstrators.pushing import PushPlate
from world2act_core.simulators.demonstrators.stove import TurnKnob

WOODEN_TOP = Drawer("wooden_cabinet_1", "top")
WHITE_BOTTOM = Drawer("white_cabinet_1", "bottom")
PUSH_PLATE, STOVE_FRONT = "push the plate to the front of the stove", "main_table_stove_front_region"
LID_KNOB = Rim(radius=0.0, height=0.08)
"""The moka pot is taken by the knob in the middle of its lid: as if by a rim without a radius."""
BESIDE_THE_BOWL = -0.04
"""Metres from the middle of the handle at which it is pushed: the bowl stands in front of the rest."""

FIXTURES: dict[tuple[str, int], tuple[Chore, ...]] = {
    ("libero_goal", 0): (OpenDrawer("open the middle drawer of the cabinet", Drawer("wooden_cabinet_1", "middle")),),
    ("libero_goal", 5): (
        InTurn(
            (  # around the cream cheese
                PushPlate(PUSH_PLATE, "plate_1", STOVE_FRONT, aside=(0.115, 0.03)),
                PushPlate(PUSH_PLATE, "plate_1", STOVE_FRONT, aside=(0.02, 0.03)),
            )
        ),
    ),
    ("libero_goal", 7): (TurnKnob("turn on the stove", "flat_stove_1"),),
    ("libero_90", 0): (CloseDrawer("close the top drawer of the cabinet", WOODEN_TOP),),
    ("libero_90", 7): (OpenDrawer("open the top drawer of the cabinet", WOODEN_TOP),),
    ("libero_90", 11): (OpenDrawer("open the top drawer of the cabinet", WOODEN_TOP),),
    ("libero_90", 22): (CloseDrawer("close the bottom drawer of the cabinet", WHITE_BOTTOM, aside=BESIDE_THE_BOWL),),
    ("libero_10", 2): (
        TurnKnob("turn on the stove", "flat_stove_1"),
        Delivery(
            ("put the moka pot on the stove",),
            "moka_pot_1",
            LID_KNOB,
            Place("flat_stove_1_cook_region", carry=0.08, drop=0.028, site=True),
        ),
    ),
    ("libero_10", 3): (
        Delivery(
            ("put the black bowl in the bottom drawer of the cabinet",),
            "akita_black_bowl_1",
            Rim(radius=0.047, height=0.035, bearing=np.radians(85)),
            Place("white_cabinet_1_bottom_region", carry=0.06, drop=-0.02, aside=(0.03, -0.022), site=True),
        ),
        CloseDrawer("close the bottom drawer of the cabinet", WHITE_BOTTOM, fist=False),
    ),
    ("libero_90", 39): (TurnKnob("turn off the stove", "flat_stove_1", on=False),),
}
"""(suite, index of the task) → what is done there, in order."""
