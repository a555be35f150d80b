"""The methods that a study compares, by name. A new one is a function from ``Context`` to ``Made``, and a line below.

``stage`` of the context is the method's own: what it writes there is sealed with the policy. What several methods need
(videos, a world model, adapters) is a stage of ``Run(context.cell_folder)``, or of
``Run(context.task_folder, wait=True)`` where it is the same for every seed; whichever method comes first makes it, the
others find it sealed. ``Made.minutes`` then counts those stages too.
"""

from __future__ import annotations

from world2act_core.recipes.stages import POLICY, Stages, stage_config
from world2act_core.recipes.study.cells import Context, Made, Method, OnceATask
from world2act_core.runs import Run


def base(context: Context) -> Made:
    """The base policy: behaviour cloning on the task's demonstrations, then frozen."""
    work = Stages(context.recipe, context.pool)
    with Run(context.task_folder, wait=True) as run:
        demonstrations = run.stage(
            "demonstrations",
            work.demonstrations,
            config=stage_config(context.recipe, "demonstrations", "release_chunks"),
        )
    work.base(context.stage, demonstrations)
    return Made(f"compact:{context.stage.path(POLICY).resolve()}", figures=dict(context.stage.metrics))


METHODS: dict[str, Method] = {"base": OnceATask(base)}
"""Name → method. A plan may name any of these."""
