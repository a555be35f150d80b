"""Run, resume, read and keep a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from world2act_core.errors import RunError, World2ActError
from world2act_core.recipes.recording import run_trials
from world2act_core.recipes.study import report
from world2act_core.recipes.study.analysis import analyse
from world2act_core.recipes.study.cells import Method, RunTrials, run_cell
from world2act_core.recipes.study.methods import METHODS
from world2act_core.recipes.study.plan import Cell, StudyPlan, check_names, is_committed, read_plan
from world2act_core.recipes.study.records import merged, read_records, record_path, write_record
from world2act_core.recipes.study.spread import Job, in_processes, on_ray
from world2act_core.simulators.workers import WorkerPool

REPORT, TABLE = "report.html", "table.md"


@dataclass(frozen=True)
class CellJob:
    """A cell on its way to another process."""

    plan: StudyPlan
    cell: Cell
    folder: Path
    methods: Mapping[str, Method]
    names: tuple[str, ...]
    plan_committed: bool
    run_trials: RunTrials

    @property
    def name(self) -> str:
        return self.cell.name

    def work(self, say: Callable[[str], None]) -> None:
        import torch

        torch.set_num_threads(self.plan.recipe.torch_threads)
        with WorkerPool(self.plan.recipe.workers) as pool:
            run_cell(
                self.plan,
                self.cell,
                self.folder,
                pool,
                self.methods,
                names=self.names,
                plan_committed=self.plan_committed,
                run_trials=self.run_trials,
                announce=say,
            )


def run_study(
    path: Path,
    out: Path,
    *,
    only: Sequence[str] = (),
    names: Sequence[str] = (),
    processes: int = 1,
    ray: str = "",
    methods: Mapping[str, Method] = METHODS,
    run_trials: RunTrials = run_trials,
    announce: Callable[[str], None] = print,
) -> None:
    """Run or resume the cells of a plan, then report on all that there are.

    Args:
        path: of the plan.
        out: folder of the study; with Ray one that every machine sees under this path.
        only: cells as ``libero_goal/8/0``; empty takes all.
        names: methods; empty takes all.
        processes: cells at a time on this machine.
        ray: address of a Ray cluster; empty uses processes.

    Raises:
        World2ActError: an unknown name, records of another plan, or cells that failed (after all others).
    """
    plan = read_plan(path)
    check_names(plan.methods, methods, f"{path.name}: method")
    check_names(names, plan.methods, "method")
    if processes < 1:
        raise World2ActError(f"--processes {processes}: a study takes at least one process")
    cells = _chosen(plan, only)
    wanted = tuple(name for name in plan.methods if not names or name in names)
    records = read_records(out, plan)
    pending = [cell for cell in cells if cell not in records or set(wanted) - set(records[cell].methods)]
    committed = is_committed(path)
    announce(f"plan {plan.name}, SHA-256 {plan.sha256}{'' if committed else ': NOT committed, so it fixes nothing'}")
    announce(f"{len(cells)} cells of {len(wanted)} methods, {len(cells) - len(pending)} of them done before")
    jobs = [CellJob(plan, cell, out.resolve(), methods, wanted, committed, run_trials) for cell in pending]
    failed = []
    for done, (job, error) in enumerate(_spread(jobs, processes, ray, out / "logs", announce), start=1):
        announce(f"[{job.name}] {error or 'done'}; {done} of {len(jobs)} cells")
        if error:
            failed.append(f"{job.name}: {error}")
    announce("")
    write_reports(path, out, announce)
    if failed:
        raise RunError(f"{len(failed)} cell(s) did not finish; run the same command again to resume; {failed[0]}")


def write_reports(path: Path, out: Path, announce: Callable[[str], None] = print) -> None:
    """Read the records of a folder, print the tables and write ``report.html`` and ``table.md``.

    Raises:
        RunError: there are no records of this plan.
    """
    plan = read_plan(path)
    records = read_records(out, plan)
    if not records:
        raise RunError(f"{out} holds no record of plan {path.name}: run world2act study {path} --out {out} first")
    findings = analyse(plan, records)
    announce(report.as_text(findings))
    (out / TABLE).write_text(report.as_markdown(findings, path), encoding="utf-8")
    report.write_page(findings, path, out / REPORT)
    announce(f"\ntable: {out / TABLE}\nreport: {out / REPORT}")


def collect(path: Path, out: Path, folder: Path, announce: Callable[[str], None] = print) -> None:
    """Add the records' methods to those in a folder that is committed, and make the table of all that it holds then.

    Raises:
        RunError: there are no records, the folder holds those of another plan, or the same method made differently.
    """
    plan = read_plan(path)
    records = read_records(out, plan)
    if not records:
        raise RunError(f"{out} holds no record of plan {path.name}: run world2act study {path} --out {out} first")
    together = merged(read_records(folder, plan), records, plan, folder)
    for cell, record in together.items():
        write_record(record_path(folder, cell), record)
    (folder / TABLE).write_text(report.as_markdown(analyse(plan, together), path), encoding="utf-8")
    announce(f"{len(together)} records and their table: {folder}")


def _chosen(plan: StudyPlan, only: Sequence[str]) -> list[Cell]:
    known = {f"{cell.suite}/{cell.task}/{cell.seed}": cell for cell in plan.cells}
    check_names(only, known, "cell")
    return [cell for name, cell in known.items() if not only or name in only]


def _spread(
    jobs: Sequence[Job], processes: int, ray: str, logs: Path, say: Callable[[str], None]
) -> Iterator[tuple[Job, str]]:
    return on_ray(jobs, ray, say) if ray else in_processes(jobs, processes, logs, say)
