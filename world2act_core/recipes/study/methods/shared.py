"""What the methods of a cell, or the cells of a task, have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from world2act_core.errors import World2ActError
from world2act_core.recipes.learning import Learning, MakeStage
from world2act_core.recipes.stages import Stages
from world2act_core.recipes.study.cells import Context, Made
from world2act_core.runs import Run, Stage


class Shared:
    """Makes the stages that a method asks for, where no other has made them before, and keeps account of their cost.

    Demonstrations, videos, the base and its rollouts are the same for every seed and belong to the task's folder; world
    model and adapters are trained anew with each seed and belong to the cell's.
    """

    def __init__(self, context: Context) -> None:
        self._context, self._began = context, time.monotonic()
        self._elsewhere = 0.0
        self._stages: dict[Path, Stage] = {}
        first = replace(context.recipe, seed=context.plan.seeds[0])
        cell, task = Stages(context.recipe, context.pool), Stages(first, context.pool)
        make = self._maker
        self.learning = Learning(cell, make(context.cell_folder), task, make(context.task_folder))

    def demonstrations_elsewhere(self) -> list[Stage]:
        """The demonstrations of the plan's other tasks.

        Raises:
            World2ActError: the plan has none.
        """
        context, found = self._context, []
        for cell in context.plan.cells:
            if cell.task_name != context.cell.task_name and cell.seed == context.plan.seeds[0]:
                work = Stages(context.plan.cell_recipe(cell), context.pool)
                make = self._maker(context.task_folder.parent / cell.task_name)
                found.append(Learning(work, make).demonstrations)
        if not found:
            raise World2ActError("negatives from other tasks need a plan with more than one task")
        return found

    def made(self, policy: str, **figures: Any) -> Made:
        """The result, at the cost of this method, over all its resumes, and of all that it has asked for."""
        own = self._context.stage.seconds + time.monotonic() - self._began - self._elsewhere
        minutes = (own + sum(stage.seconds for stage in self._stages.values())) / 60
        read = {f"{folder.parent.name}/{folder.name}": stage.digest for folder, stage in self._stages.items()}
        return Made(policy, minutes, figures, read)

    def _maker(self, folder: Path) -> MakeStage:
        def make(name: str, work: Callable[[Stage], None], **how: Any) -> Stage:
            began = time.monotonic()
            with Run(folder, wait=True, fixed=True) as run:
                stage = run.stage(name, work, **how)
            self._elsewhere += time.monotonic() - began
            self._stages[stage.folder] = stage
            return stage

        return make
