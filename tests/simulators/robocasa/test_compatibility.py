"""Each gap of PyPI's robosuite is bridged where it is, and left alone where it is not."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from types import SimpleNamespace
from typing import Any

import pytest

from world2act_core.simulators.robocasa import compatibility
from world2act_core.simulators.robocasa.compatibility import LEGACY_BASE


class OldEnvironment:
    """Builds its model when it is made, and again at every reset, as robosuite 1.5.2 does."""

    def __init__(self, hard_reset: bool = True) -> None:
        self.built: list[str] = []
        self._load_model()
        self._initialize_sim()
        self._observables = self._setup_observables()
        self.hard_reset = hard_reset

    def _load_model(self) -> None:
        self.built.append("model")

    def _initialize_sim(self) -> None:
        self.built.append("sim")

    def initialize_renderer(self) -> None:
        self.built.append("renderer")

    def _reset_internal(self) -> None:
        self.built.append("internals")

    def _setup_observables(self) -> dict[str, str]:
        return {"eef": "pose"}


class NewEnvironment(OldEnvironment):
    def __init__(self, hard_reset: bool = True, load_model_on_init: bool = True) -> None:
        super().__init__(hard_reset)
        self.told = load_model_on_init


class OldTask:
    def __init__(self, arena: str) -> None:
        self.root = ET.fromstring('<mujoco><option timestep="0.002"/></mujoco>')
        self.arena = arena


class NewTask(OldTask):
    def __init__(self, arena: str, enable_multiccd: bool = False, enable_sleeping_islands: bool = False) -> None:
        super().__init__(arena)


def copy_of(kind: type[Any]) -> Any:
    """A class that may be changed without the others seeing it."""
    return type(kind.__name__, (kind,), {"__init__": kind.__init__})


def test_a_model_is_built_by_the_first_reset_only_if_asked_for_so() -> None:
    environment = copy_of(OldEnvironment)
    assert compatibility.lazy_models(environment)
    lazy = environment(load_model_on_init=False, hard_reset=False)
    assert lazy.built == [] and lazy._observables == {} and lazy.sim is None and not lazy.hard_reset
    lazy._load_model()
    assert lazy.built == ["model"] and lazy._setup_observables() == {"eef": "pose"}, "the methods are its own again"
    assert environment().built == ["model", "sim"]


def test_a_model_that_fails_leaves_no_hidden_method_behind() -> None:
    environment = copy_of(OldEnvironment)
    compatibility.lazy_models(environment)
    made: list[Any] = []

    class Failing(environment):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            made.append(self)
            super().__init__(load_model_on_init=False, no_such_option=True)

    with pytest.raises(TypeError, match="no_such_option"):
        Failing()
    assert not any(name in vars(made[0]) for name in compatibility._BUILDING)


def test_multiccd_is_switched_on_in_the_model() -> None:
    task = copy_of(OldTask)
    assert compatibility.task_options(task)
    flagged = task("kitchen", enable_multiccd=True, enable_sleeping_islands=False)
    assert [flag.attrib for flag in flagged.root.iter("flag")] == [{"multiccd": "enable"}]
    assert flagged.arena == "kitchen"
    assert not list(task("kitchen").root.iter("flag"))
    with pytest.raises(TypeError, match="sleeping islands"):
        task("kitchen", enable_sleeping_islands=True)


def old_factory(name: str, params: dict[str, float]) -> tuple[str, float]:
    if name == "JOINT_VELOCITY":
        return name, params["kp"]
    raise ValueError(f"Unknown controller name: {name}")


def new_factory(name: str, params: dict[str, float]) -> tuple[str, float]:
    def legacy(kp: float) -> tuple[str, float]:
        return name, kp

    return legacy(**params) if name == LEGACY_BASE else old_factory(name, params)


def test_the_legacy_base_is_the_joint_velocity_one() -> None:
    module = SimpleNamespace(mobile_base_controller_factory=old_factory)
    assert compatibility.legacy_base(module)
    assert module.mobile_base_controller_factory(LEGACY_BASE, {"kp": 3.0}) == ("JOINT_VELOCITY", 3.0)
    with pytest.raises(ValueError, match="Unknown"):
        module.mobile_base_controller_factory("SAIL", {})


def test_what_robosuite_has_itself_is_left_alone() -> None:
    environment, task = copy_of(NewEnvironment), copy_of(NewTask)
    module = SimpleNamespace(mobile_base_controller_factory=new_factory)
    before = environment.__init__, task.__init__
    assert not compatibility.lazy_models(environment)
    assert not compatibility.task_options(task)
    assert not compatibility.legacy_base(module)
    assert (environment.__init__, task.__init__) == before
    assert module.mobile_base_controller_factory is new_factory
    assert environment(load_model_on_init=False).told is False


def test_what_is_bridged_is_not_bridged_again() -> None:
    environment, task = copy_of(OldEnvironment), copy_of(OldTask)
    assert compatibility.lazy_models(environment) and not compatibility.lazy_models(environment)
    assert compatibility.task_options(task) and not compatibility.task_options(task)


def category(**models: int) -> dict[str, SimpleNamespace]:
    return {name: SimpleNamespace(mjcf_paths=[f"{i}/model.xml" for i in range(n)]) for name, n in models.items()}


def test_categories_without_models_are_left_out_of_every_group() -> None:
    categories = {
        "apple": category(objaverse=1, lightwheel=0),
        "pear": category(objaverse=0, lightwheel=0),
        "wok": category(aigen=0),  # never drawn from: RoboCasa leaves it out by itself
    }
    groups = {"fruit": ["apple", "pear"], "pear": ["pear"], "all": ["apple", "pear", "wok"]}
    left_out = compatibility.without_empty_categories(categories, groups, ("objaverse", "lightwheel"))
    assert left_out == ("pear",)
    assert groups == {"fruit": ["apple"], "pear": [], "all": ["apple", "wok"]}


@pytest.mark.parametrize(("split", "left_out"), [("", ()), ("pretrain", ()), ("target", ("one",))])
def test_a_split_has_its_half_of_a_category(split: str, left_out: tuple[str, ...]) -> None:
    """RoboCasa gives the last five models of a category, or fewer than half of them, to ``target``."""
    categories = {"one": category(objaverse=1), "two": category(objaverse=2), "many": category(objaverse=20)}
    groups = {"all": list(categories)}
    assert compatibility.without_empty_categories(categories, groups, ("objaverse",), split) == left_out
