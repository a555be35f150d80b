"""The report of a skill dataset as one HTML file and one picture, both beside its journal."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from world2act_core.pages import Page, charts
from world2act_core.pages.rates import interval_name, percent
from world2act_core.skills.journal import Record, read_journal
from world2act_core.skills.report import contact_sheet, picture, words
from world2act_core.skills.report.contact_sheet import Row, read_rows, sheet_html
from world2act_core.skills.report.summary import NEAR, PAPER_RATES, Lengths, Summary, summarise
from world2act_core.types import Array

REPORT, PICTURE = "report.html", "contact_sheet.png"

KEPT_BYTES, DISCARDED_BYTES = 4_000_000, 1_500_000
"""Of all images on the page, which embeds them at 4/3 of their size: it shall be easy to send."""
MOST_LINES = 200
"""Lines of a table: a dataset may have a thousand different instructions."""
EXAMPLES = 3
"""Reasons that are quoted for each cause of discard."""
BINS, SPAN = 30, 3.0
"""Bins of a histogram of lengths, and where it ends, in medians."""


class SkillReport(Page):
    """The page of a skill dataset."""

    extra_style = contact_sheet.SHEET_STYLE


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` and, if there are thumbnails, ``contact_sheet.png`` into a dataset's folder.

    Returns:
        The path of the page. The same journal and thumbnails give the same bytes.
    """
    folder = Path(folder)
    records = read_journal(folder)
    summary = summarise(records)
    kept = read_rows(folder, [record for record in records if record.kept], KEPT_BYTES)
    discarded = read_rows(folder, [record for record in records if not record.kept], DISCARDED_BYTES)
    page = SkillReport(f"Skill dataset {words.plain(folder.resolve().name)}")
    _add_verdict(page, summary)
    _add_sheets(page, summary, kept, discarded)
    _add_lengths(page, summary)
    _add_tasks(page, summary)
    _add_discards(page, summary, records)
    _add_skills(page, summary)
    _add_notes(page, summary)
    page.write(folder / REPORT)
    _write_picture(folder / PICTURE, picture.choose(kept, discarded), words.verdict(summary))
    return folder / REPORT


def _write_picture(path: Path, rows: Sequence[Row], headline: str) -> None:
    if not rows:
        path.unlink(missing_ok=True)  # of an earlier state of the dataset
        return
    part = path.with_name(path.name + ".tmp")
    part.write_bytes(picture.contact_sheet(rows, headline))
    os.replace(part, path)


def _add_verdict(page: Page, summary: Summary) -> None:
    numbers = [
        (name, words.share(rate), f"{words.count(rate)}, {words.interval(rate)}" if rate.judged else "no episodes")
        for name, rate in (("prehensile", summary.prehensile), ("non-prehensile", summary.non_prehensile))
    ]
    clips = f"{len(summary.skills)} skills, {summary.kept} episodes"
    apart = sum(number for _, number in summary.apart)
    numbers += [
        ("clips", f"{summary.clips:,}", clips),
        ("not judged", f"{apart:,}", f"not in the rate: {words.apart(summary)}" if apart else ""),
        (
            "World2Act's own rates",
            " · ".join(map(percent, PAPER_RATES.values())),
            f"{' · '.join(PAPER_RATES)}, section 3.1",
        ),
    ]
    page.add_verdict(words.verdict(summary), _colour(summary), numbers)


def _colour(summary: Summary) -> str:
    """Green from the better of the paper's two rates on, orange below the worse one."""
    share = summary.overall.share
    if share is None or min(PAPER_RATES.values()) <= share < max(PAPER_RATES.values()):
        return "same"
    return "better" if share >= max(PAPER_RATES.values()) else "worse"


def _add_sheets(page: Page, summary: Summary, kept: Sequence[Row], discarded: Sequence[Row]) -> None:
    if not kept and not discarded:
        page.add_card("Contact sheet", '<p class="note">No episode brought images.</p>')
    if kept:
        caption = (
            f"First and last frame of each clip, in order, of {len(kept)} of {summary.kept} kept episodes: the first "
            "ones of every instruction. A clip is right if its last frame shows what its prompt asks for, just done."
        )
        page.add_card("Contact sheet", sheet_html(kept), caption)
    if discarded:
        count = sum(number for _, number in summary.discards)
        caption = (
            f"First and last frame of {len(discarded)} of {count} discarded episodes, why they gave no clips, "
            "the events that were seen with their control steps, and the steps of the instruction."
        )
        page.add_card("Discarded", sheet_html(discarded), caption)


def _add_lengths(page: Page, summary: Summary) -> None:
    pair = (("Before: kept episodes, whole", summary.before, "s3"), ("After: clips", summary.after, "s0"))
    drawable = [(title, lengths, css, _shares(lengths)) for title, lengths, css in pair]
    top = max((float(shares.max()) for *_, shares in drawable if shares is not None), default=None)
    halves = [_half(*which, top) for which in drawable]
    caption = (
        f"Both charts end at {SPAN:g} medians; what is longer is counted in the last bar. Dashed: the median. Shaded: "
        f"within {100 * NEAR:.0f} % of it; the share in there changes by {words.change(summary.concentration)} from "
        f"episodes to clips. World2Act reports a density near the median that rises by {words.paper_concentration()}. "
        "The paper's measure is not published in detail, so do not compare number with number."
    )
    page.add_card("Lengths", f'<div class="halves">{"".join(halves)}</div>', caption)


def _half(title: str, lengths: Lengths, css: str, shares: Array | None, top: float | None) -> str:
    """One of the two charts under its heading."""
    if shares is None or lengths.quartiles is None:
        return f"<div><h3>{escape(title)}</h3><small>none</small></div>"
    low, median, high = lengths.quartiles
    said = f"median {median:.1f} s, quartiles {low:.1f} to {high:.1f} s, {words.near_median(lengths)} near the median"
    chart = charts.histogram(
        shares,
        np.linspace(0, SPAN * median, BINS + 1),
        "seconds",
        "% of all",
        top=top,
        band=((1 - NEAR) * median, (1 + NEAR) * median),
        mark=median,
        css=css,
    )
    return f"<div><h3>{escape(title)}</h3><small>{escape(said)}</small>{chart}</div>"


def _shares(lengths: Lengths) -> Array | None:
    """Per cent of the lengths in each bin, ``(BINS,)``; None if nothing can be drawn."""
    if lengths.quartiles is None or lengths.quartiles[1] <= 0:
        return None
    in_medians = np.minimum(np.asarray(lengths.seconds) / lengths.quartiles[1], SPAN)
    counts, _ = np.histogram(in_medians, BINS, (0, SPAN))
    return 100 * counts / len(lengths.seconds)


def _add_tasks(page: Page, summary: Summary) -> None:
    rows = [
        [
            words.plain(figures.task),
            words.count(figures.rate),
            words.share(figures.rate),
            words.interval(figures.rate),
            figures.apart,
        ]
        for figures in summary.tasks[:MOST_LINES]
    ]
    header = ["instruction", "kept", "rate", interval_name(), "not judged"]
    page.add_table(header, rows, title="Tasks", caption=_more(len(summary.tasks), "Lowest rate first."))


def _add_discards(page: Page, summary: Summary, records: Sequence[Record]) -> None:
    reasons: dict[str, list[str]] = defaultdict(list)
    for record in records:
        if not record.kept and len(reasons[record.discard]) < EXAMPLES:
            reasons[record.discard].append(f"{words.plain(record.episode_id or record.source, 60)}: {record.reason}")
    rows = [
        [words.plain(phrase), number, judged, " · ".join(words.plain(reason) for reason in reasons[phrase])]
        for judged, found in (("yes", summary.discards), ("no", summary.apart))
        for phrase, number in found
    ]
    caption = "Episodes that gave no clips, by cause. The journal has the reason of each." if rows else "None."
    page.add_table(["cause", "episodes", "judged", "for example"], rows, title="Discards", caption=caption)


def _add_skills(page: Page, summary: Summary) -> None:
    rows = []
    for figures in summary.skills[:MOST_LINES]:
        first, median, third = words.quartiles(figures.lengths)
        rows.append([words.plain(figures.prompt), len(figures.lengths.seconds), median, f"{first} to {third}"])
    caption = _more(len(summary.skills), "Lengths of the clips in seconds.")
    page.add_table(["skill", "clips", "median", "quartiles"], rows, title="Skills", caption=caption)


def _add_notes(page: Page, summary: Summary) -> None:
    rows = [[words.plain(note.name), note.count, note.episodes] for note in summary.notes]
    caption = "What was seen in the streams but is no step of its own: merged with its neighbours or left out."
    page.add_table(["overruled", "times", "in episodes"], rows, title="Segmentation", caption=caption, half=True)
    note = f'<p class="note">{escape(words.usage(summary.usage))}</p>'
    page.add_card("Decomposition", note, half=True)


def _more(found: int, caption: str) -> str:
    return caption if found <= MOST_LINES else f"{caption} The first {MOST_LINES} of {found:,}."
