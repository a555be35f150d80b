"""A study's findings as text, as Markdown and as one HTML page, all from the same tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from world2act_core.evaluation import charts, wording
from world2act_core.evaluation.page_style import TRIAL_STYLE
from world2act_core.pages import Page
from world2act_core.pages.rates import MINUS, interval_name, percent, percent_interval
from world2act_core.recipes.overrides import as_json
from world2act_core.recipes.study.analysis import ComparisonRow, Findings, MethodRow, Rate, Verdict
from world2act_core.recipes.study.plan import HELD_OUT, SHIFTED, Comparison

TITLES = {HELD_OUT: "Held-out starts", SHIFTED: "Shifted starts"}
NOTES = (
    "Rates are successes over tasks and seeds, with Wilson intervals, which take trials as independent; a policy that "
    "is made once a task counts each start once. Differences have Newcombe's paired interval at one minus the level of "
    "the comparison, with the number of pairs that the starts are worth (Rao and Scott's design effect, a start with "
    "all its seeds being the unit). p is the larger of the exact McNemar test over all pairs and the exact sign-flip "
    "test of that unit; p by run is the sign-flip test whose unit is a training run. Levels are not corrected over "
    "comparisons."
)


@dataclass(frozen=True)
class Table:
    """What every form of the report shows: a heading, columns and rows of text."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(findings: Findings) -> list[Table]:
    """The tables of a study: one a start set that anything was planned on, then the comparisons."""
    made = []
    for starts, title in TITLES.items():
        rows = [row for row in findings.methods if row.starts == starts]
        if rows:
            made.append(_methods_table(f"{title}, {getattr(findings.plan, starts).jitter_cm:g} cm", rows))
    if findings.comparisons:
        made.append(comparisons_table("Planned comparisons, in percentage points", findings.comparisons))
    return made


def headline(findings: Findings) -> str:
    """The study in one sentence: how many of its planned comparisons came out as planned."""
    unfinished = sum(row is None or row.verdict == "unfinished" for _, row in findings.comparisons)
    reached = sum(row is not None and row.reached for _, row in findings.comparisons)
    total = len(findings.comparisons)
    if unfinished or findings.missing:
        return f"The study is not finished: {len(findings.missing)} of {len(findings.plan.cells)} cells lack something."
    if not total:
        return "The study is finished; its plan names no comparison."
    return f"{reached} of {total} planned comparisons came out as planned."


def as_text(findings: Findings) -> str:
    """For the terminal: aligned, plain ASCII."""
    blocks = [f"study {findings.plan.name}: {headline(findings)}"]
    for table in tables(findings):
        blocks.append(drawn(table))
    blocks += [findings.cosine.sentence, *_closing(findings)]
    return _ascii("\n\n".join(blocks))


def drawn(table: Table) -> str:
    """A table for the terminal."""
    lines = _aligned((table.header, *table.rows))
    rule = "-" * max(map(len, lines))
    return _ascii("\n".join([table.title, rule, lines[0], rule, *lines[1:]]))


def _ascii(text: str) -> str:
    return text.replace(MINUS, "-").replace("±", " ")


def _aligned(lines: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def as_markdown(findings: Findings, plan: Path) -> str:
    """For a document: the command that made it, the tables, and what is to be said of them."""
    machines = "; ".join(_machines(findings))
    blocks = [
        f"`world2act study {_shown(plan)}`, plan SHA-256 `{findings.plan.sha256}`, on {machines}.",
        f"**{headline(findings)}**",
    ]
    for table in tables(findings):
        lines = [table.header, ("---",) * len(table.header), *table.rows]
        drawn = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
        blocks.append(f"### {table.title}\n\n{drawn}")
    return "\n\n".join([*blocks, NOTES, findings.cosine.sentence, *_closing(findings)]) + "\n"


class StudyPage(Page):
    """The page of a study: what every page can show, and the bars of success rates."""

    extra_style = TRIAL_STYLE


def write_page(findings: Findings, plan: Path, path: Path) -> None:
    """Write the findings as one HTML file."""
    page = StudyPage(f"Study: {findings.plan.name}")
    page.add_verdict(headline(findings), _css(findings), _numbers(findings))
    page.add_facts(
        {
            "tasks": ", ".join(findings.plan.tasks),
            "seeds": ", ".join(map(str, findings.plan.seeds)),
            "plan": f"{_shown(plan)}, SHA-256 {findings.plan.sha256[:12]}",
            "machine": "; ".join(_machines(findings)),
        }
    )
    base = findings.plan.methods[0]
    for starts, title in TITLES.items():
        rated = [(row.name, row.pooled) for row in findings.methods if row.starts == starts]
        bars = [
            charts.RateRow(name, rate.successes, rate.n, rate.interval, "base" if name == base else "post")
            for name, rate in rated
            if rate is not None
        ]
        if bars:
            page.add_card(f"{title}: success rates", charts.rate_chart(bars, label_width=210))
    for table in tables(findings):
        page.add_table(table.header, table.rows, title=table.title)
    page.add_card("How to read this", "", " ".join([NOTES, *_closing(findings)]))
    page.add_card("Cosine and success", f"<p>{escape(findings.cosine.sentence)}</p>")
    for method in findings.plan.methods:
        curves = {cell.name: curve for (cell, name), curve in findings.cosine.curves.items() if name == method}
        if curves:
            page.add_curves(f"{method}: over training", curves, "cosine", "success rate")
    page.add_manifest(
        {"plan": as_json(findings.plan), **{c.name: dict(r.versions) for c, r in findings.records.items()}}
    )
    page.write(path)


def _methods_table(title: str, rows: Sequence[MethodRow]) -> Table:
    tasks = list(rows[0].tasks)
    header = ("method", *tasks, "all", "rate", interval_name(), "min to make", "against base")
    lines = []
    for row in rows:
        pooled = row.pooled
        lines.append(
            (
                row.name,
                *(_rate(row.tasks[task]) for task in tasks),
                _rate(pooled),
                percent(pooled.successes / pooled.n) if pooled else "",
                percent_interval(pooled.interval) if pooled else "",
                "" if row.minutes is None else f"{row.minutes:.1f}",
                "; ".join(row.verdicts),
            )
        )
    return Table(title, header, tuple(lines))


def comparisons_table(title: str, comparisons: Sequence[tuple[Comparison, ComparisonRow | None]]) -> Table:
    """A row a planned comparison; what there is no pair of yet is unfinished."""
    figures = ("pairs", "difference", "interval", "won/lost", "p", "p by run", "by task")
    lines = []
    for planned, row in comparisons:
        first = (f"{planned.method} {_aim(planned)} {planned.against}", planned.starts.replace("_", "-"))
        if row is None:
            lines.append((*first, "0", *[""] * (len(figures) - 1), "unfinished"))
            continue
        lines.append(
            (
                *first,
                f"{row.pairs}" if not row.missing else f"{row.pairs} of {row.pairs + row.missing}",
                wording.points(row.difference),
                wording.points_interval(row.interval),
                f"{row.gained}/{row.lost}",
                wording.p_value(row.p).removeprefix("p = "),
                wording.p_value(row.p_runs).removeprefix("p = "),
                ", ".join(wording.points(difference) for difference in row.tasks.values()),
                "; ".join([verdict_in_words(row.verdict, planned), *row.bars_missed]),
            )
        )
    header = ("comparison", "starts", *figures, "verdict")
    return Table(title, header, tuple(lines))


def verdict_in_words(verdict: Verdict, planned: Comparison) -> str:
    """``not worse`` names its margin."""
    return f"not worse by {planned.margin:g}" if verdict == "not worse" else verdict


def _aim(planned: Comparison) -> str:
    return "better than" if planned.kind == "superior" else f"not worse by {planned.margin:g} than"


def _rate(rate: Rate | None) -> str:
    return f"{rate.successes}/{rate.n}" if rate else ""


def _closing(findings: Findings) -> list[str]:
    """What is missing and what a reader must know besides."""
    said = [f"Remark: {remark}." for remark in findings.remarks]
    if findings.missing:
        said.append(f"Missing: {'; '.join(findings.missing)}.")
    return said


def _machines(findings: Findings) -> list[str]:
    machines = (record.machine for record in findings.records.values())
    return sorted({f"{machine['cores']} cores of {machine['processor']}" for machine in machines})


def _numbers(findings: Findings) -> list[tuple[str, str, str]]:
    """The first planned comparison, which is the study's question."""
    shown: list[ComparisonRow] = [row for _, row in findings.comparisons if row is not None][:1]
    return [
        number
        for row in shown
        for number in (
            (f"{row.planned.method} less {row.planned.against}", f"{wording.points(row.difference)} points",
             f"{wording.points_interval(row.interval)}"),
            ("exact tests", wording.p_value(row.p), f"{row.gained} won, {row.lost} lost of {row.pairs} pairs"),
            ("verdict", verdict_in_words(row.verdict, row.planned), "; ".join(row.bars_missed)),
        )
    ]  # fmt: skip


def _css(findings: Findings) -> str:
    rows = [row for _, row in findings.comparisons if row is not None]
    if not rows or rows[0].verdict in ("unfinished", "not shown", "not worse"):
        return "same"
    return rows[0].verdict


def _shown(plan: Path) -> str:
    """The plan's path as it can be committed: nothing of this machine."""
    return plan.name if plan.is_absolute() else plan.as_posix()
