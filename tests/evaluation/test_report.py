"""The report is one file that needs nothing else, says what the trials say, and is the same for the same input."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from world2act_core.evaluation.picture import summary_picture
from world2act_core.evaluation.report import Report
from world2act_core.evaluation.trials import PairedTrials, Trial, pair_trials
from world2act_core.evaluation.video import encode_mp4
from world2act_core.pages import encode_png
from world2act_core.types import Array

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Elements, their attributes and text; fails on elements that do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data + " "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def paired(base: str, post: str) -> PairedTrials:
    def side(policy: str, outcomes: str) -> list[Trial]:
        return [Trial(f"libero_goal/8/i{i}", policy, o == "1", 60 + i, 1.5) for i, o in enumerate(outcomes)]

    return pair_trials(side("base", base), side("post-trained", post))


def frames(count: int, size: int = 16) -> Array:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.fixture(scope="module")
def mp4() -> bytes:
    return encode_mp4(frames(3), 5)


@pytest.fixture
def build(mp4: bytes) -> Callable[[], Report]:
    """A report with every kind of section, realistic in shape."""

    def make() -> Report:
        report = Report("put the bowl on the plate")
        trials = paired("1100000001", "1011111101")
        report.add_summary(trials, {"Task": "put the bowl on the plate", "Robot": "libero_panda"})
        report.add_paired_table(trials, training_starts={"demonstrations": 10, "stage 1": 0})
        report.add_video("Side by side", mp4, "The same start.")
        report.add_images("Imagined", {"imagined": frames(3), "happened": frames(3, 32)}, columns=["0", "4", "8"])
        steps = np.arange(1000)
        report.add_curves("Stage 1", {"loss": (steps, 1 / (1 + steps)), "b": (steps, steps / 1e3)}, "step", "loss")
        report.add_table(["stage", "seconds"], [["stage 1", 63.25], ["stage 2", 120]], title="Stages")
        report.add_manifest({"versions": {"torch": "2.13.0"}})
        return report

    return make


def test_the_page_is_well_formed_and_loads_nothing_from_elsewhere(build: Callable[[], Report]) -> None:
    html = build().html()
    page = Page(html)
    assert page.all("script") == []
    for tag, attributes in page.elements:
        for name in ("src", "href", "data", "poster", "srcset", "action", "xlink:href"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:", "#")), (tag, name, target)
    assert not re.search(r"https?://|url\(|@import", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    policy = next(meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in str(policy["content"])


def test_the_same_input_gives_the_same_bytes(build: Callable[[], Report], tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        build().write(tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_the_video_is_in_the_page_whole(build: Callable[[], Report], mp4: bytes) -> None:
    (video,) = Page(build().html()).all("video")
    assert base64.b64decode(str(video["src"]).split(",", 1)[1]) == mp4
    assert {"controls", "loop", "muted", "playsinline"} <= set(video)


def test_images_are_in_the_page_pixel_for_pixel(build: Callable[[], Report]) -> None:
    from PIL import Image

    images = Page(build().html()).all("img")
    assert len(images) == 6
    data = base64.b64decode(str(images[0]["src"]).split(",", 1)[1])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), frames(3)[0])


def test_every_start_is_one_cell_that_says_what_happened(build: Callable[[], Report]) -> None:
    cells = Page(build().html()).all("li")
    assert [cell["class"] for cell in cells] == [
        f"cell-{kind}"
        for kind in ("both", "loss", "gain", "gain", "gain", "gain", "gain", "gain", "neither", "both")
    ]  # fmt: skip
    assert cells[1]["title"] == "libero_goal/8/i1: only base succeeded (base 61 steps, post-trained 61)"


@pytest.mark.parametrize(
    ("base", "post", "line"),
    [
        ("0" * 8, "1" * 8, "The post-trained policy is better"),
        ("1" * 8, "0" * 8, "The post-trained policy is worse"),
        ("1100", "1010", "No difference: these trials cannot tell the policies apart"),
        ("1100", "1100", "both policies succeeded and failed on the same starts"),
    ],
)
def test_the_verdict_is_the_one_of_the_trials(base: str, post: str, line: str) -> None:
    report = Report("title")
    report.add_summary(paired(base, post))
    assert line in Page(report.html()).text


def test_held_out_is_claimed_only_with_the_proof(build: Callable[[], Report]) -> None:
    assert "none of these 10 starts was seen in training: demonstrations (10 starts)." in Page(build().html()).text
    report = Report("title")
    report.add_paired_table(paired("10", "01"))
    assert "seen in training" not in Page(report.html()).text


def test_text_is_escaped() -> None:
    report = Report("<script>alert(1)</script>")
    report.add_table(["<b>"], [["<img src=x>"]], title="a & b", caption='"quoted"')
    report.add_curves("c", {"<i>": ([0, 1], [0, 1])}, "<x>", "<y>")
    page = Page(report.html())
    assert page.all("script") == page.all("img") == page.all("i") == []
    assert "<img src=x>" in page.text


def test_numbers_are_set_to_the_right() -> None:
    report = Report("title")
    report.add_table(["stage", "seconds", "rate"], [["one", 1.5, "32/40"], ["two", None, "+3.5"]])
    header = Page(report.html()).all("th")
    assert [cell.get("class") for cell in header] == [None, "number", "number"]


def test_a_ragged_table_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Report("title").add_table(["a", "b"], [["only one"]])


def test_images_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        encode_png(np.zeros((4, 4, 3)))


def test_the_summary_picture_has_its_size_and_repeats() -> None:
    from PIL import Image

    trials = paired("1100000001", "1011111101")
    pictures = [
        summary_picture(trials, frames(5), frames(3), frames(4, 8), frames(4), title="bowl", post_steps=[0, 4, 7])
        for _ in range(2)
    ]
    assert Image.open(io.BytesIO(pictures[0])).size == (1600, 700)
    assert pictures[0] == pictures[1]


def test_the_summary_picture_refuses_frames_that_do_not_match() -> None:
    trials = paired("10", "01")
    with pytest.raises(ValueError, match="4 imagined frames for 3"):
        summary_picture(trials, frames(5), frames(3), frames(4), frames(3), title="bowl")
