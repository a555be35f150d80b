"""The report on a skill dataset counts what its journal says and shows the frames that its clips begin and end with."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.skills.test_thumbnails import CLIPS, grey_episode
from world2act_core.pages.rates import wilson_interval
from world2act_core.skills.journal import FAILED, UNREADABLE, Record, rewrite_journal
from world2act_core.skills.report import as_text, picture, summarise, words, write_report
from world2act_core.skills.report.contact_sheet import Row, read_rows, sheet_html
from world2act_core.skills.report.summary import Lengths, NoteFigures, Rate
from world2act_core.skills.synchronise import Discard
from world2act_core.skills.thumbnails import SIZE, clip_thumbnails
from world2act_core.skills.types import Event, EventKind, Step, StepKind, Usage
from world2act_core.types import Array, Skill

PICK, PLACE = Step("pick up the bowl", StepKind.PICK), Step("place the bowl on the plate", StepKind.PLACE)
PUSH = Step("push the plate", StepKind.MANIPULATE)
BOWL, PLATE = "put the bowl on the plate", "push the plate to the front of the stove"


def kept(name: str = "k", **changes: object) -> Record:
    record = Record("bags", name, BOWL, 40, 0.05, plan=(PICK, PLACE), skills=CLIPS)
    return replace(record, **changes)  # type: ignore[arg-type]


def lost(name: str = "l", discard: str = Discard.TOO_FEW_EVENTS.value, **changes: object) -> Record:
    events = (Event(EventKind.GRASP, 37, 30),)
    record = Record("bags", name, BOWL, 40, 0.05, events, plan=(PICK, PLACE), discard=discard, reason="one was seen")
    return replace(record, **changes)  # type: ignore[arg-type]


def with_thumbnails(folder: Path, record: Record) -> Record:
    return replace(record, thumbnails=clip_thumbnails(grey_episode(record.episode_id), record.skills, folder))


def report_of(folder: Path, *records: Record) -> str:
    rewrite_journal(folder, records)
    return write_report(folder).read_text(encoding="utf-8")


def pictures_in(html: str) -> list[Array]:
    files = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in files]


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL)).split())


def test_the_rate_is_of_the_episodes_that_could_be_judged() -> None:
    summary = summarise([kept(), kept(), kept(), lost(), lost(discard=FAILED), lost(discard=UNREADABLE, task="")])
    assert summary.episodes == 6
    assert summary.overall == Rate(kept=3, judged=4)
    assert summary.overall.share == 0.75
    assert summary.overall.interval == wilson_interval(3, 4)
    assert summary.discards == ((Discard.TOO_FEW_EVENTS.value, 1),)
    assert summary.apart == ((FAILED, 1), (UNREADABLE, 1))


def test_prehensile_and_other_instructions_have_rates_of_their_own() -> None:
    pushed = kept(task=PLATE, plan=(PUSH,), skills=(Skill(PUSH.prompt, 0, 30),))
    no_plan = lost(plan=(), discard=Discard.INSTRUCTION.value)
    summary = summarise([kept(), lost(), pushed, pushed, lost(task=PLATE, plan=(PUSH,)), no_plan])
    assert summary.prehensile == Rate(1, 2)
    assert summary.non_prehensile == Rate(2, 3)
    assert summary.overall == Rate(3, 6)


def test_tasks_come_with_the_lowest_rate_first() -> None:
    records = [kept(), kept(), kept(task="a"), lost(task="a"), lost(task="b", discard=FAILED), lost(discard=FAILED)]
    found = [(figures.task, figures.rate, figures.apart) for figures in summarise(records).tasks]
    assert found == [("a", Rate(1, 2), 0), (BOWL, Rate(2, 2), 1), ("b", Rate(0, 0), 1)]


def test_lengths_are_those_of_the_kept_episodes_and_their_clips() -> None:
    """Clips of 18 and 22 control steps of 0.05 s in an episode of 40."""
    summary = summarise([kept(), lost(steps=1000)])
    assert summary.before.seconds == (2.0,)
    assert summary.after.seconds == pytest.approx((0.9, 1.1))
    assert [(s.prompt, s.lengths.seconds) for s in summary.skills] == [
        (CLIPS[0].prompt, pytest.approx((0.9,))),
        (CLIPS[1].prompt, pytest.approx((1.1,))),
    ]


def test_quartiles_and_the_share_near_the_median() -> None:
    lengths = Lengths((1.0, 2.0, 3.0, 4.0, 5.0))
    assert lengths.quartiles == (2.0, 3.0, 4.0)
    assert lengths.near_median == 0.2
    assert Lengths((8.0, 10.0, 12.0, 12.1)).near_median == 0.75  # 8.8 to 13.2
    assert Lengths(()).quartiles is None and Lengths(()).near_median is None


def test_a_length_on_the_border_is_near_the_median_whatever_its_last_bit_says() -> None:
    assert Lengths((8 * 0.05, 10 * 0.05, 12 * 0.05)).near_median == 1.0


def test_concentration_is_the_change_of_the_share_near_the_median() -> None:
    """Episodes of 1, 2 and 4 s: one of three is near the median. Their clips are all alike."""
    records = [kept(steps=steps, skills=(Skill("a", 0, 20),)) for steps in (20, 40, 80)]
    summary = summarise(records)
    assert summary.before.near_median == pytest.approx(1 / 3)
    assert summary.concentration == pytest.approx(2.0)


def test_notes_and_costs_are_summed() -> None:
    spent = Usage(calls=1, prompt_tokens=300, completion_tokens=60, cost=0.5)
    records = [
        kept(notes=(("drop", 2), ("regrasp", 1)), usage=spent),
        lost(notes=(("drop", 1), ("chatter", 0)), usage=spent),
    ]
    summary = summarise(records)
    assert summary.notes == (NoteFigures("drop", 3, 2), NoteFigures("regrasp", 1, 1))
    assert summary.usage == Usage(2, 600, 120, 1.0)


def test_the_console_says_the_figures() -> None:
    summary = summarise([kept(), kept(), kept(), lost(), lost(discard=FAILED)])
    text = as_text(summary)
    low, high = wilson_interval(3, 4)
    assert f"75.0 % of episodes gave skill clips: 3 of 4 (95 % interval {100 * low:.1f} to {100 * high:.1f} %)" in text
    assert "6 clips of 2 skills from 3 of 5 episodes" in text
    assert "RoboCasa 96.2 %, LIBERO 86.9 %" in text
    assert "discarded: 1 fewer events than steps" in text
    assert "not judged: 1 the attempt failed" in text
    assert all(line == line.rstrip() and len(line) < 120 for line in text.splitlines())


def test_an_instruction_cannot_command_the_terminal() -> None:
    text = as_text(summarise([kept(), lost(task="\x1b[2J\x1b]0;owned\x07 put\r\nthe\u202e bowl")]))
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("records", [[], [lost(discard=UNREADABLE, task="", steps=0)], [lost(), lost()]])
def test_a_dataset_without_clips_has_a_report(records: list[Record], tmp_path: Path) -> None:
    html = report_of(tmp_path, *records)
    summary = summarise(records)
    assert summary.clips == 0
    assert words.verdict(summary) in text_of(html)
    assert words.verdict(summary) in as_text(summary)
    assert not (tmp_path / "contact_sheet.png").exists()


def test_a_dataset_that_could_not_be_judged_says_so() -> None:
    assert as_text(summarise([])) == "No episode was looked at yet."
    text = as_text(summarise([lost(discard=UNREADABLE)]))
    assert text.startswith("No episode could be judged: 1 could not be read.")


def test_the_page_has_its_parts_in_the_order_in_which_they_are_looked_at(tmp_path: Path) -> None:
    records = [with_thumbnails(tmp_path, record) for record in (kept(), lost())]
    html = report_of(tmp_path, *records)
    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        "Contact sheet", "Discarded", "Lengths", "Tasks", "Discards", "Skills", "Segmentation", "Decomposition",
    ]  # fmt: skip
    assert html.index('class="verdict') < html.index("<h2>Contact sheet")


def test_the_page_shows_first_and_last_frame_of_each_clip_in_order(tmp_path: Path) -> None:
    html = report_of(tmp_path, with_thumbnails(tmp_path, kept()))
    assert [round(float(image.mean())) for image in pictures_in(html)] == [0, 16, 16, 40]
    sheet = text_of(html[html.index("<h2>Contact sheet") : html.index("<h2>Lengths")])
    assert "1 pick up the bowl 18 steps, 0.9 s 2 place the bowl on the plate 22 steps, 1.1 s" in sheet


def test_a_discarded_episode_shows_its_cause_and_what_was_seen(tmp_path: Path) -> None:
    html = report_of(tmp_path, with_thumbnails(tmp_path, lost()))
    assert [round(float(image.mean())) for image in pictures_in(html)] == [0, 40]
    sheet = text_of(html[html.index("<h2>Discarded") : html.index("<h2>Lengths")])
    assert "fewer events than steps seen: grasp at 37 asked: pick up the bowl, place the bowl on the plate" in sheet


def test_the_page_tells_the_rate_the_lengths_and_the_tables(tmp_path: Path) -> None:
    records = [kept(), kept(), kept(), lost(), lost("bad", UNREADABLE, task="", reason="x.mcap ends at byte 9")]
    text = text_of(report_of(tmp_path, *records))
    assert "75.0 % of episodes gave skill clips: 3 of 4" in text
    assert "96.2 % · 86.9 % RoboCasa · LIBERO, section 3.1" in text
    assert "median 2.0 s, quartiles 2.0 to 2.0 s, 100.0 % near the median" in text
    assert "fewer events than steps 1 yes l: one was seen" in text
    assert "could not be read 1 no bad: x.mcap ends at byte 9" in text
    assert "pick up the bowl 3 0.9 0.9 to 0.9" in text


HOSTILE = "</h3></style><script>alert(1)</script><img src=x onerror='alert(1)'> & \"\x00\x1b[2J"


def test_hostile_texts_stay_text(tmp_path: Path) -> None:
    skills, plan = (Skill(HOSTILE, 0, 40),), (Step(HOSTILE, StepKind.PUT),)
    bad = kept(HOSTILE, task=HOSTILE, skills=skills, plan=plan, notes=((HOSTILE, 1),))
    gone = lost(f"{HOSTILE}2", HOSTILE, task=HOSTILE, reason=HOSTILE, source=HOSTILE)
    html = report_of(tmp_path, with_thumbnails(tmp_path, bad), with_thumbnails(tmp_path, gone))
    assert "<script" not in html and "\x00" not in html
    assert html.count("</style>") == 1
    assert re.findall(r"<img (?!alt=)", html) == []
    assert "<script>alert(1)</script><img src=x onerror='alert(1)'> & \"" in text_of(html)
    assert Image.open(tmp_path / "contact_sheet.png").size[0] == picture.WIDTH


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("put\r\n a  bowl\t", "put a bowl"),
        ("\x1b[31mred\ud800\u202e", "[31mred"),
        ("put the bowl", "put the b…"),
        ("x" * 10_000_000, "xxxxxxxxx…"),
        ("\n" * 10_000_000, "…"),
        ("ten chars!", "ten chars!"),
    ],
)
def test_texts_are_shown_as_one_short_printable_line(text: str, shown: str) -> None:
    assert words.plain(text, 10) == shown


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    html = report_of(tmp_path, with_thumbnails(tmp_path, kept()), with_thumbnails(tmp_path, lost()))
    assert all(target.startswith(("data:", "#")) for target in re.findall(r'(?:src|href)="([^"]*)"', html))


def test_a_journal_cannot_have_other_files_embedded(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"private")
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    for name in ("../secret.jpg", str(secret), "thumbnails/../../secret.jpg", ".."):
        assert base64.b64encode(b"private").decode() not in report_of(dataset, kept(thumbnails=(name,) * 4))


def test_unicode_is_shown_as_it_is(tmp_path: Path) -> None:
    record = with_thumbnails(tmp_path, kept("задача/ß", task="茶碗を皿に置く", skills=(Skill("茶碗を持つ", 0, 40),)))
    text = text_of(report_of(tmp_path, record))
    assert "茶碗を皿に置く" in text and "1 茶碗を持つ 40 steps" in text and "задача/ß" in text


def test_episodes_without_images_have_a_report_that_says_so(tmp_path: Path) -> None:
    html = report_of(tmp_path, kept())
    assert "No episode brought images." in text_of(html)
    assert not (tmp_path / "contact_sheet.png").exists()


def test_a_contact_sheet_of_an_earlier_state_does_not_stay(tmp_path: Path) -> None:
    report_of(tmp_path, with_thumbnails(tmp_path, kept()))
    assert (tmp_path / "contact_sheet.png").exists()
    report_of(tmp_path, kept())
    assert not (tmp_path / "contact_sheet.png").exists()


def test_lost_or_damaged_thumbnails_leave_empty_cells(tmp_path: Path) -> None:
    record = with_thumbnails(tmp_path, kept())
    (tmp_path / record.thumbnails[0]).unlink()
    whole = (tmp_path / record.thumbnails[1]).read_bytes()
    (tmp_path / record.thumbnails[1]).write_bytes(whole[: len(whole) // 2])
    html = report_of(tmp_path, record)
    assert html.count("no image") == 1
    assert Image.open(tmp_path / "contact_sheet.png").size[0] == picture.WIDTH


def shown_at(sheet: Array, corner: tuple[int, int]) -> Array:
    return sheet[corner[1] : corner[1] + SIZE, corner[0] : corner[0] + SIZE]


def test_the_picture_holds_the_pixels_of_every_thumbnail_at_its_place(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    episode = grey_episode(size=(128, 128))
    noise = rng.integers(0, 256, (len(episode.frame_steps), 8, 8, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    names = clip_thumbnails(replace(episode, images={"agentview": noise}), CLIPS, tmp_path)
    report_of(tmp_path, kept(thumbnails=names), kept("again", thumbnails=names))
    sheet = np.asarray(Image.open(tmp_path / "contact_sheet.png"))
    assert sheet.shape == (20 + 44 + picture.BLOCK + 20, 2000, 3)
    for block in (20, 20 + 470 + 24):  # an episode of two clips is 4 images, 2 narrow gaps and a wide one across
        for index, x in enumerate((0, 116, 242, 358)):
            expected = np.asarray(Image.open(tmp_path / names[index]))
            assert np.array_equal(shown_at(sheet, (block + x, 20 + 44 + picture.HEAD)), expected)


def test_small_images_stand_in_the_middle_of_their_cells(tmp_path: Path) -> None:
    record = replace(kept(), thumbnails=clip_thumbnails(grey_episode(steps=40, size=(64, 64)), CLIPS, tmp_path))
    report_of(tmp_path, record)
    cell = shown_at(np.asarray(Image.open(tmp_path / "contact_sheet.png")), (20 + 358, 20 + 44 + picture.HEAD))
    assert np.all(cell[24:88, 24:88] == 40)
    assert np.all(cell[:24] > 200) and np.all(cell[88:] > 200)


def rows(count: int, *, discard: str = "") -> list[Row]:
    made = lost if discard else kept
    return [Row(replace(made(f"{i}"), task=f"task {i}", discard=discard), (b"",) * 4) for i in range(count)]


@pytest.mark.parametrize(
    ("good", "bad", "shown"),
    [(100, 100, (18, 6)), (100, 2, (22, 2)), (3, 100, (3, 21)), (3, 2, (3, 2)), (0, 9, (0, 9))],
)
def test_the_picture_has_room_for_24_episodes_some_of_them_discarded(
    good: int, bad: int, shown: tuple[int, int]
) -> None:
    chosen = picture.choose(rows(good), rows(bad, discard="few"))
    outcomes = [row.record.kept for row in chosen]
    assert (outcomes.count(True), outcomes.count(False)) == shown
    assert outcomes == sorted(outcomes, reverse=True)


def test_episodes_on_the_picture_do_not_overlap_nor_leave_it() -> None:
    clips = tuple(Skill(f"skill {i}", 10 * i, 10 * i + 10) for i in range(12))
    several = [replace(row, record=replace(row.record, skills=clips[: 1 + i])) for i, row in enumerate(rows(12))]
    blocks, (width, height) = picture.arrange([*several, *rows(3, discard="few")])
    assert width > picture.WIDTH  # twelve clips are wider
    taken = np.zeros((height, width), bool)
    for block in blocks:
        area = taken[block.y : block.y + picture.BLOCK, block.x : block.x + block.width]
        assert area.shape == (picture.BLOCK, block.width) and not area.any()
        area[:] = True


def test_one_episode_of_every_task_comes_before_a_second_of_any(tmp_path: Path) -> None:
    records = [kept(f"{task}{i}", task=task, thumbnails=("a.jpg",)) for task in "ab" for i in range(2)]
    assert [row.record.episode_id for row in read_rows(tmp_path, records, 1)] == ["a0", "b0", "a1", "b1"]


def test_what_does_not_fit_on_the_page_is_left_out(tmp_path: Path) -> None:
    records = [with_thumbnails(tmp_path, kept(f"{i}", task=f"{i}")) for i in range(4)]
    size = sum((tmp_path / name).stat().st_size for name in records[0].thumbnails)
    assert len(read_rows(tmp_path, records, 3 * size)) == 3


def test_all_but_the_first_episodes_are_folded_away() -> None:
    html = sheet_html(rows(30))
    opened, folded = html.split("<details>")
    assert opened.count("<article>") == 24 and folded.count("<article>") == 6
    assert "<summary>6 more</summary>" in folded


def test_the_same_journal_gives_the_same_files(tmp_path: Path) -> None:
    record = with_thumbnails(tmp_path, kept())
    first = report_of(tmp_path, record), (tmp_path / "contact_sheet.png").read_bytes()
    assert (report_of(tmp_path, record), (tmp_path / "contact_sheet.png").read_bytes()) == first
    assert not list(tmp_path.glob("*.tmp"))


def test_ten_thousand_episodes_of_as_many_instructions_make_a_page_that_can_be_sent(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(image, "JPEG", quality=85)
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails" / "a.jpg").write_bytes(image.getvalue())
    names = ("thumbnails/a.jpg",) * 4
    some = [kept(f"{i}", task=f"{BOWL} {i}", thumbnails=names if i < 1000 else ()) for i in range(9_900)]
    html = report_of(tmp_path, *some, *(lost(f"l{i}", thumbnails=names[:2]) for i in range(100)))
    assert 5e6 < len(html) < 10e6
    assert "The first 200 of 9,901." in text_of(html)
