"""Clauses that are each understood by themselves → the steps that one gripper takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from world2act_core.skills.grammar import lexicon
from world2act_core.skills.grammar.clauses import CARRIES, Clause, Item, NotUnderstood, Noun
from world2act_core.skills.grammar.references import is_same, joined
from world2act_core.skills.types import Step, StepKind


def plan_steps(clauses: Sequence[Clause]) -> list[Step]:
    """The steps of clauses in the order in which they are done.

    Raises:
        NotUnderstood: one gripper cannot do that.
    """
    steps: list[Step] = []
    picked: list[tuple[Noun, Step]] = []
    for clause in sorted(clauses, key=lambda clause: clause.order):
        for item in _one_by_one(clause):
            step = Step(f"{clause.said} {item}".strip(), clause.kind)
            if step.kind is StepKind.PICK:
                picked.append((item.noun.again, step))
            elif step.kind in CARRIES:
                pick = next((pick for pick in picked if is_same(pick[0], item.noun.again)), None)
                step = replace(step, kind=_kind_of_carrying(clause, item, pick is not None))
                if pick:
                    picked.remove(pick)
                if pick and len(clause.items) > 1:  # what is placed together is picked up in turn
                    steps.remove(pick[1])
                    steps.append(pick[1])
            steps.append(step)
    _check_hand(steps)
    return steps


def _one_by_one(clause: Clause) -> Sequence[Item]:
    if len(clause.items) == 1:
        return clause.items
    if clause.verb == "stack" and not clause.items[-1].destination:
        return [Item(joined([item.noun for item in clause.items]))]  # one onto the other
    if tuple(clause.verb.split()) not in lexicon.VERBS:
        raise NotUnderstood(f"it is not known whether one can {clause.said!r} one thing after the other")
    return clause.items


def _kind_of_carrying(clause: Clause, item: Item, picked_up: bool) -> StepKind:
    if not picked_up and (clause.kind is StepKind.PUT or item.destination):
        return StepKind.PUT
    return StepKind.PLACE  # also "release the mug": it was in the hand from the beginning


def _check_hand(steps: Sequence[Step]) -> None:
    full = False
    for step in steps:
        if full and step.kind in (StepKind.PICK, StepKind.PUT):
            raise NotUnderstood(f"one hand cannot {step.prompt!r} while it holds something else")
        full = step.kind is StepKind.PICK or (full and step.kind is not StepKind.PLACE)
