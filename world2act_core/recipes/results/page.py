"""One page of every stored result: it holds its data and its script, and loads nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from world2act_core.pages import Page
from world2act_core.recipes.results.collect import Collection, collect
from world2act_core.recipes.results.content import content
from world2act_core.recipes.results.page_style import RESULTS_STYLE

FILTERS = {
    "suite": "Suite", "task": "Task", "policy": "Policy", "commit": "Commit", "embodiment": "Embodiment",
    "assets": "Assets", "kind": "Kind of result",
}  # fmt: skip
"""Property of a row → label of its filter; ``FILTERS`` of ``logic.js``."""


def script() -> str:
    """The page's script: what it computes, then what it shows, whose last line starts it."""
    here = files(__package__)
    return "\n".join(here.joinpath(name).read_text(encoding="utf-8") for name in ("logic.js", "panels.js", "view.js"))


class ResultsPage(Page):
    """Filters, a table, a comparison of two of its rows, success over time, and what could not be read."""

    extra_style = RESULTS_STYLE

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.script = script()

    def add_results(self, found: Mapping[str, Any]) -> None:
        """Everything that works on the data, which ``content.content`` made."""
        data = json.dumps(found, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        data = data.replace("<", "\\u003c")  # no name may end the element
        self.add_card("", _NEEDS_SCRIPT)
        self.add_html(f'<script type="application/json" id="content">{data}</script>')
        self.add_html(f'<div id="application" class="cards" hidden>{_application()}</div>')

    def add_unread(self, unread: Sequence[Mapping[str, str]], other: int) -> None:
        """What lay in the folders and is not in the table, and why."""
        note = f"{other} other JSON files hold no results (manifests, exports and the like)."
        if not unread:
            self.add_card("Not read", f'<p class="note">Every file of results was read. {note}</p>')
            return
        lines = "".join(
            f'<tr><td><a href="{escape(entry["href"], quote=True)}">{escape(entry["file"])}</a></td>'
            f"<td>{escape(entry['why'])}</td></tr>"
            for entry in unread
        )
        table = f"<table><thead><tr><th>file</th><th>why not</th></tr></thead><tbody>{lines}</tbody></table>"
        self.add_card(f"Not read: {len(unread)}", f'<div class="scroll">{table}</div>', note)


def write_results_page(folders: Iterable[Path], out: Path) -> tuple[Collection, int]:
    """Collect results and write the page, whole or not at all; returns what was found and how many rows there are.

    Raises:
        World2ActError: a folder does not exist, or the page cannot be written.
    """
    from world2act_core.errors import World2ActError

    found = collect(folders, out)
    shown = content(found, out.parent)
    page = ResultsPage("Results")
    page.add_results(shown)
    page.add_unread(shown["unread"], found.other)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        page.write(out)
    except OSError as error:
        raise World2ActError(f"{out} cannot be written ({error.strerror}): name another --out") from error
    return found, len(shown["rows"])


def _application() -> str:
    selects = "".join(f'<label>{label}<select id="by-{name}"></select></label>' for name, label in FILTERS.items())
    return f"""
<section class="card" aria-label="Filters"><div class="filters" role="search">
<label class="wide">Search<input type="search" id="words" placeholder="words that must all occur"></label>{selects}
<label class="check"><input type="checkbox" id="pooled">all tasks of a result in one row</label>
<button type="button" id="reset">Show everything</button></div>
<p class="note" id="count" role="status" aria-live="polite"></p></section>
<section class="card" id="comparison" hidden aria-live="polite"><h2>A and B on the same starts</h2>
<div id="verdict"></div>
<button type="button" id="swap">Swap A and B</button> <button type="button" id="none">Choose none</button></section>
<section class="card"><h2>Results</h2><p class="note">Choose a row as A and another as B to compare them start by start.
Intervals are Wilson's, 95 %. * The file does not say when it was made: the date is its commit's, else its file's.</p>
<details><summary>Columns</summary><div class="columns" id="columns"></div></details>
<div class="scroll tall" tabindex="0" role="region" aria-label="Table of results"><table class="results">
<thead id="head"></thead><tbody id="body"></tbody></table></div>
<button type="button" id="more" hidden></button></section>
<section class="card"><h2>Success over time</h2><p class="note">A chart for each suite and task that passes the filters;
whiskers are Wilson intervals.</p><label class="check"><input type="checkbox" id="order">in order, not to scale</label>
<div class="legend" id="legend"></div><div class="charts" id="charts"></div>
<button type="button" id="more-charts" hidden></button></section>"""


_NEEDS_SCRIPT = (
    '<p id="needs-script">The table, its filters and the charts need JavaScript, which this file brings along; '
    "this browser does not run it.</p>"
)
