"""A run's report: one HTML file with everything in it, to be opened anywhere, offline, and shown to colleagues."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from world2act_core.evaluation import charts, wording
from world2act_core.evaluation.page_style import TRIAL_STYLE
from world2act_core.evaluation.trials import Outcome, PairedTrials
from world2act_core.pages import Page
from world2act_core.pages.rates import CONFIDENCE, MINUS, interval_name, percent

_CELLS: dict[Outcome, tuple[str, str, str]] = {
    "only post-trained": ("gain", "+", "only post-trained succeeded"),
    "only base": ("loss", MINUS, "only base succeeded"),
    "both": ("both", "✓", "both succeeded"),
    "neither": ("neither", "·", "neither succeeded"),
}


class Report(Page):
    """The page of an evaluation: what every page can show, and paired trials."""

    extra_style = TRIAL_STYLE

    def add_summary(self, trials: PairedTrials, facts: Mapping[str, str] | None = None) -> None:
        """The verdict in one big line, the numbers behind it, and short facts (task, robot, commit) below."""
        css = {"better": "better", "worse": "worse", "no difference": "same"}[trials.verdict]
        interval = interval_name()
        numbers = [
            ("base", f"{trials.base_successes} of {trials.n}", percent(trials.base_successes / trials.n)),
            (
                "post-trained",
                f"{trials.post_successes} of {trials.n}",
                percent(trials.post_successes / trials.n),
            ),
            (
                "difference",
                f"{wording.points(trials.difference)} points",
                f"{interval} {wording.points_interval(trials.difference_interval)}",
            ),
            ("exact paired test", wording.p_value(trials.p_value), wording.evidence(trials)),
        ]
        self.add_verdict(wording.verdict_in_words(trials), css, numbers)
        if facts:
            self.add_facts(facts)

    def add_paired_table(
        self,
        trials: PairedTrials,
        *,
        training_starts: Mapping[str, int] | None = None,
        title: str = "Same starts, both policies",
    ) -> None:
        """Success rates with intervals, the paired 2x2 table, and every start as one cell.

        Args:
            trials: the paired evaluation.
            training_starts: stage → number of starts it used, once ``held_out_or_raise`` has passed; the page says
                that the starts were held out only if this is given.
        """
        rates = charts.rate_chart(
            [
                charts.RateRow("base", trials.base_successes, trials.n, trials.base_interval, "base"),
                charts.RateRow("post-trained", trials.post_successes, trials.n, trials.post_interval, "post"),
            ]
        )
        body = (
            f'<div class="pair">{rates}<div class="scroll">{_cross_table(trials)}</div></div>'
            f"{_start_grid(trials)}"
            f'<p class="note">{escape(_method(trials))}{escape(_held_out(trials, training_starts))}</p>'
        )
        self.add_card(title, body)


def _cross_table(trials: PairedTrials) -> str:
    def cell(outcome: Outcome) -> str:
        count = trials.count(outcome)
        return f'<td class="cell-{_CELLS[outcome][0] if count else "neither"}">{count}</td>'

    return (
        '<table class="cross"><thead><tr><th></th><th>post-trained succeeded</th><th>post-trained failed</th></tr>'
        f"</thead><tbody><tr><th>base succeeded</th>{cell('both')}{cell('only base')}</tr>"
        f"<tr><th>base failed</th>{cell('only post-trained')}{cell('neither')}</tr></tbody></table>"
    )


def _method(trials: PairedTrials) -> str:
    return (
        f"Bars show success rates, whiskers their {100 * CONFIDENCE:g} % Wilson intervals. The difference is "
        f"{wording.points(trials.difference)} points, {interval_name()} "
        f"{wording.points_interval(trials.difference_interval)} (Newcombe 1998, paired, method 10). The verdict is "
        f"that of the exact McNemar test, two-sided, which looks only at the starts on which the policies differ: "
        f"{wording.p_value(trials.p_value)}."
    )


def _held_out(trials: PairedTrials, training_starts: Mapping[str, int] | None) -> str:
    if training_starts is None:
        return ""
    stages = ", ".join(f"{stage} ({count} starts)" for stage, count in training_starts.items() if count)
    return f" By their manifests, none of these {trials.n} starts was seen in training: {stages or 'no start used'}."


def _start_grid(trials: PairedTrials) -> str:
    """Every start as a cell, in the order they were run; hover for the start and the steps taken."""
    items = []
    for outcome, base, post in zip(trials.outcomes, trials.base, trials.post, strict=True):
        css, sign, words = _CELLS[outcome]
        title = f"{base.start_id}: {words} (base {base.steps} steps, post-trained {post.steps})"
        items.append(f'<li class="cell-{css}" title="{escape(title, quote=True)}">{sign}</li>')
    keys = "".join(
        f'<span><i class="cell-{css}">{sign}</i>{words} <b>{trials.count(outcome)}</b></span>'
        for outcome, (css, sign, words) in _CELLS.items()
    )
    return f'<ul class="starts">{"".join(items)}</ul><div class="legend">{keys}</div>'
