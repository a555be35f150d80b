"""What pick-and-place demonstrators do in which LIBERO task: objects, grips, places and the names of the skills."""

from __future__ import annotations

from world2act_core.simulators.demonstrators.grips import Around, Rim
from world2act_core.simulators.demonstrators.pick_and_place import Delivery, Place

BOWL_RIM = Rim(radius=0.047, height=0.035)
PLATE = Place("plate_1", carry=0.08, drop=0.0137)
BASKET = Place("basket_1", carry=0.18, drop=0.15)
"""Let go just above the rim: lower down the hand, which is wider than the basket, would stand on it."""


def _bowl_onto_plate(where: str) -> tuple[Delivery, ...]:
    prompts = (f"pick up the black bowl {where}", "place the black bowl on the plate")
    return (Delivery(prompts, "akita_black_bowl_1", BOWL_RIM, PLATE),)


def _into_basket(name: str, item: str) -> tuple[Delivery, ...]:
    prompts = (f"pick up the {name}", f"place the {name} in the basket")
    return (Delivery(prompts, item, Around(), BASKET, clear=0.2),)


DELIVERIES: dict[tuple[str, int], tuple[Delivery, ...]] = {
    ("libero_spatial", 0): _bowl_onto_plate("between the plate and the ramekin"),
    ("libero_spatial", 2): _bowl_onto_plate("from table center"),
    ("libero_object", 0): _into_basket("alphabet soup", "alphabet_soup_1"),
    ("libero_object", 1): _into_basket("cream cheese", "cream_cheese_1"),
    ("libero_goal", 8): (Delivery(("put the bowl on the plate",), "akita_black_bowl_1", BOWL_RIM, PLATE),),
}
"""(suite, index of the task) → what is carried where, in order."""
