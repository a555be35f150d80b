"""How RoboCasa words its atomic tasks, and what each means: templates with several fillings.

``ATOMIC`` holds the 24 atomic tasks of RoboCasa (and NavigateKitchen) as ``get_ep_meta`` words them in
robocasa/environments/kitchen/single_stage at tag v0.2; ``ADDED`` what RoboCasa 1.0.1 (rpent-robocasa365) adds in
robocasa/environments/kitchen/atomic, where every sentence begins with a capital and ends with a stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from string import Formatter

Step = tuple[str, str]

OBJECTS = ("hot dog", "canned food", "oil/vinegar bottle", "salt/pepper shaker", "bar soap", "electric kettle")
FILLINGS = {
    "obj": OBJECTS,
    "container": ("plate", "bowl"),
    "cookware": ("pan", "pot"),
    "vessel": ("in the bowl", "on the plate", "in the pan"),
    "dish": ("plate", "pan"),
    "fixture": ("cabinet", "microwave"),
    "side": ("left", "right"),
    "knob": ("rear left", "front center", "right"),
    "spout": ("left", "right", "center"),
    "target": ("coffee machine", "sink", "stove", "fridge", "range hood"),
    "rack": ("top ", "bottom ", ""),
    "way": ("out", "in"),
    "receptacle": ("rack", "tray"),
}


def _moved(source: str, destination: str) -> tuple[str, list[Step]]:
    """ "pick the {obj} from ... and place it ...": the shape of all pick-and-place tasks."""
    steps = [("pick", f"pick the {{obj}} {source}"), ("place", f"place the {{obj}} {destination}")]
    return f"pick the {{obj}} {source} and place it {destination}", steps


def _done(instruction: str) -> tuple[str, list[Step]]:
    """A single skill, left as it is."""
    return instruction, [("manipulate", instruction)]


ATOMIC = {
    "PnPCounterToCab": _moved("from the counter", "in the cabinet"),
    "PnPCabToCounter": _moved("from the cabinet", "on the counter"),
    "PnPCounterToSink": _moved("from the counter", "in the sink"),
    "PnPSinkToCounter": _moved("from the sink", "on the {container} located on the counter"),
    "PnPCounterToMicrowave": _moved("from the counter", "in the microwave"),
    "PnPMicrowaveToCounter": _moved("from the microwave", "on {container} located on the counter"),
    "PnPCounterToStove": _moved("from the plate", "in the {cookware}"),
    "PnPStoveToCounter": _moved("from the {dish}", "{vessel}"),
    "OpenSingleDoor": _done("open the {fixture} door"),
    "CloseSingleDoor": _done("close the {fixture} door"),
    "OpenDoubleDoor": _done("open the cabinet doors"),
    "CloseDoubleDoor": _done("close the cabinet doors"),
    "OpenDrawer": _done("open the {side} drawer"),
    "CloseDrawer": _done("close the {side} drawer"),
    "TurnOnStove": _done("turn on the {knob} burner of the stove"),
    "TurnOffStove": _done("turn off the {knob} burner of the stove"),
    "TurnOnSinkFaucet": _done("turn on the sink faucet"),
    "TurnOffSinkFaucet": _done("turn off the sink faucet"),
    "TurnSinkSpout": _done("turn the sink spout to the {spout}"),
    "CoffeeSetupMug": _moved("from the counter", "under the coffee machine dispenser"),
    "CoffeeServeMug": _moved("from under the coffee machine dispenser", "on the counter"),
    "CoffeePressButton": _done("press the button on the coffee machine to serve coffee"),
    "TurnOnMicrowave": _done("press the start button on the microwave"),
    "TurnOffMicrowave": _done("press the stop button on the microwave"),
    "NavigateKitchen": ("navigate to the {target}", [("move", "navigate to the {target}")]),
}

ADDED = {
    "OpenFridgeDrawer": _done("fully open the fridge drawer"),
    "SlideDishwasherRack": _done("fully slide the top dishwasher rack {way}"),
    "SlideOvenRack": _done("fully slide the {rack}oven rack {way}"),
    "SlideToasterOvenRack": _done("fully slide the toaster oven {rack}{receptacle} {way}"),
    "PreheatOven": _done("preheat the oven by turning the temperature knob"),
    "LowerHeat": _done("lower the heat of the kettle"),
    "RaiseToasterOvenHeat": _done("increase the toaster oven temperature"),
    "TurnOnToasterOven": _done("turn on the toaster oven by setting the timer"),
    "TurnOnBlender": _done("turn on the blender by pressing the power button"),
    "TurnOnKettle": _done("press down the lever to turn on the electric kettle"),
    "OpenKettleLid": _done("press the button to open the lid of the electric kettle"),
    "CloseBlenderLid": _done("close the lid blender by securely placing the lid on top"),
    # How it is done is said with "it"; so it is left out.
    "TurnOnToaster": (
        "push down the lever of the toaster to turn it on",
        [("manipulate", "push down the lever of the toaster")],
    ),
    "OpenBlenderLid": (
        "open the blender by taking off the lid and placing it on the counter",
        [("manipulate", "open the blender")],
    ),
    "FridgeShelfToDrawer": _moved("from the fridge shelf", "in the fridge drawer"),
    "ToasterOvenToCounter": _moved("from the {rack}{receptacle}", "on the plate on the counter"),
    "CounterToOven": ("place the {obj} on the rack of the oven", [("put", "place the {obj} on the rack of the oven")]),
    "ToasterToPlate": ("place the toasted item on a plate", [("put", "place the toasted item on a plate")]),
    "PackDessert": (
        "add the {obj} to the tupperware that contains the steak",
        [("put", "add the {obj} to the tupperware that contains the steak")],
    ),
    "IceInCoffee": (
        "pick up an ice cube and place it in the glass of coffee",
        [("pick", "pick up an ice cube"), ("place", "place the ice cube in the glass of coffee")],
    ),
    "CheeseOnBread": (
        "pick up the wedge of cheese and place it on the slice of bread to prepare a simple cheese on bread dish",
        [
            ("pick", "pick up the wedge of cheese"),
            ("place", "place the wedge of cheese on the slice of bread to prepare a simple cheese on bread dish"),
        ],
    ),
}


def filled(template: tuple[str, list[Step]]) -> Iterator[tuple[str, list[Step]]]:
    """The instruction and its steps for every combination of what its slots may hold."""
    instruction, steps = template
    slots = sorted({name for _, name, _, _ in Formatter().parse(instruction) if name})
    for values in product(*(FILLINGS[slot] for slot in slots)):
        filling = dict(zip(slots, values, strict=True))
        yield instruction.format(**filling), [(kind, prompt.format(**filling)) for kind, prompt in steps]
