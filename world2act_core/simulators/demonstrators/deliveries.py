"""What pick-and-place demonstrators do in which LIBERO task: objects, grips, places and the names of the skills."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from world2act_core.simulators.demonstrators.grips import Around, Grip, Rim
from world2act_core.simulators.demonstrators.pick_and_place import Delivery, Place

BOWL, BOWL_RIM = "akita_black_bowl_1", Rim(radius=0.047, height=0.035)
NEAR_RIM = replace(BOWL_RIM, bearing=np.pi / 2)
"""On the robot's side of the bowl: for one that leans outwards, or lies in a drawer whose front is in the way."""
MUG_RIM = Rim(radius=0.043, height=0.09)

PLATE = Place("plate_1", carry=0.08, drop=0.0137)
BASKET = Place("basket_1", carry=0.18, drop=0.15)
"""Let go just above the rim: lower down the hand, which is wider than the basket, would stand on it."""
STOVE = Place("flat_stove_1_cook_region", carry=0.08, drop=0.02, site=True)
CABINET = Place("wooden_cabinet_1_top_side", carry=0.06, drop=0.02, site=True)
IN_BOWL = Place(BOWL, carry=0.12, drop=0.06)
RIGHT_OF_PLATE = Place("living_room_table_plate_right_region", carry=0.2, drop=0.1, aside=(0.0, 0.03), site=True)
"""From above and to the far side, because the hand is wider than the way to the mug, which is on the plate by then."""

BOWLS_WHEREABOUTS: tuple[tuple[str, Grip], ...] = (
    ("between the plate and the ramekin", BOWL_RIM),
    ("next to the ramekin", BOWL_RIM),
    ("from table center", BOWL_RIM),
    ("on the cookie box", BOWL_RIM),
    ("in the top drawer of the wooden cabinet", NEAR_RIM),
    ("on the ramekin", NEAR_RIM),
    ("next to the cookie box", BOWL_RIM),
    ("on the stove", BOWL_RIM),
    ("next to the plate", BOWL_RIM),
    ("on the wooden cabinet", BOWL_RIM),
)
"""By task of libero_spatial."""
GROCERIES = (
    "alphabet soup", "cream cheese", "salad dressing", "bbq sauce", "ketchup",
    "tomato sauce", "butter", "milk", "chocolate pudding", "orange juice",
)  # fmt: skip
"""By task of libero_object."""


def _bowl_to_plate(where: str, grip: Grip) -> tuple[Delivery]:
    prompts = (f"pick up the black bowl {where}", "place the black bowl on the plate")
    return (Delivery(prompts, BOWL, grip, replace(PLATE, drop=0.02), clear=0.085),)


def _put_bowl(where: str, place: Place) -> tuple[Delivery]:
    return (Delivery((f"put the bowl {where}",), BOWL, BOWL_RIM, place, clear=0.085),)


def _grocery_to_basket(name: str) -> tuple[Delivery]:
    prompts = (f"pick up the {name}", f"place the {name} in the basket")
    return (Delivery(prompts, _grocery(name), Around(), BASKET, clear=0.2),)


def _both_to_basket(*names: str) -> tuple[Delivery, ...]:
    """Two groceries, side by side."""
    return tuple(
        Delivery((f"put the {name} in the basket",), _grocery(name), Around(), replace(BASKET, aside=aside), clear=0.2)
        for name, aside in zip(names, ((-0.035, 0.0), (0.035, 0.0)), strict=True)
    )


def _grocery(name: str) -> str:
    return f"{name.removesuffix(' box').replace(' ', '_')}_1"


DELIVERIES: dict[tuple[str, int], tuple[Delivery, ...]] = {
    **{("libero_spatial", task): _bowl_to_plate(*found) for task, found in enumerate(BOWLS_WHEREABOUTS)},
    **{("libero_object", task): _grocery_to_basket(name) for task, name in enumerate(GROCERIES)},
    ("libero_goal", 1): _put_bowl("on the stove", STOVE),
    ("libero_goal", 4): _put_bowl("on top of the cabinet", CABINET),
    ("libero_goal", 6): (Delivery(("put the cream cheese in the bowl",), "cream_cheese_1", Around(), IN_BOWL),),
    ("libero_goal", 8): _put_bowl("on the plate", PLATE),
    ("libero_10", 0): _both_to_basket("alphabet soup", "tomato sauce"),
    ("libero_10", 1): _both_to_basket("cream cheese box", "butter"),
    ("libero_10", 4): (
        Delivery(("put the white mug on the left plate",), "porcelain_mug_1", MUG_RIM, PLATE),
        Delivery(
            ("put the yellow and white mug on the right plate",),
            "white_yellow_mug_1",
            MUG_RIM,
            replace(PLATE, name="plate_2"),
        ),
    ),
    ("libero_10", 6): (
        Delivery(("put the white mug on the plate",), "porcelain_mug_1", MUG_RIM, PLATE),
        Delivery(
            ("put the chocolate pudding to the right of the plate",), "chocolate_pudding_1", Around(), RIGHT_OF_PLATE
        ),
    ),
    ("libero_10", 7): _both_to_basket("alphabet soup", "cream cheese box"),
}
"""(suite, index of the task) → what is carried where, in order."""
