"""The report is one file that needs nothing else, says what the trials say, and is the same for the same input."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from world2act_core.evaluation import charts
from world2act_core.evaluation.picture import summary_picture
from world2act_core.evaluation.report import Report, encode_png
from world2act_core.evaluation.trials import PairedTrials, Trial, pair_trials
from world2act_core.evaluation.video import encode_mp4
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


def svg_of(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart[chart.index("<svg") :])


def test_a_curve_passes_through_its_points() -> None:
    """A straight line from corner to corner of round ranges must end in the corners of the axes."""
    root = svg_of(charts.line_chart({"loss": ([0, 10], [0, 1])}, "step", "loss"))
    (path,) = root.findall("path")
    numbers = [float(number) for number in re.findall(r"[\d.]+", path.attrib["d"])]
    axis = next(line for line in root.findall("line") if line.get("class") == "axis")
    assert numbers[:2] == [float(axis.attrib["x1"]), float(axis.attrib["y1"])]
    assert numbers[2] == float(axis.attrib["x2"])


def test_values_that_are_not_finite_leave_a_gap() -> None:
    root = svg_of(charts.line_chart({"loss": (range(5), [1, 2, np.nan, 3, np.inf])}, "step", "loss"))
    (path,) = root.findall("path")
    assert path.attrib["d"].count("M") == 2
    assert "nan" not in path.attrib["d"] and "inf" not in path.attrib["d"]


@pytest.mark.parametrize("y", [[3.0] * 5, [0.0] * 5, [1e-9, 2e-9, 3e-9, 1e-9, 0], [1e6, 2e6, 5e6, 1e6, 0]])
def test_unusual_ranges_have_ticks_that_hold_the_data(y: list[float]) -> None:
    root = svg_of(charts.line_chart({"loss": (range(5), y)}, "step", "loss"))
    heights = [float(number) for number in re.findall(r"[ML][\d.]+ ([\d.]+)", root.findall("path")[0].attrib["d"])]
    grid = [float(line.attrib["y1"]) for line in root.findall("line") if line.get("class") == "grid"]
    assert len(grid) >= 2
    assert min(grid) - 0.1 <= min(heights) and max(heights) <= max(grid) + 0.1


@pytest.mark.parametrize("y", [[0.05, 0.2, 0.3], [1e-6, 1.0, 300.0], [2.0, 2.0, 2.0], [0.011, 0.012, 0.013]])
def test_logarithmic_ticks_hold_the_data(y: list[float]) -> None:
    root = svg_of(charts.line_chart({"loss": (range(3), y)}, "step", "loss", log_y=True))
    heights = [float(number) for number in re.findall(r"[ML][\d.]+ ([\d.]+)", root.findall("path")[0].attrib["d"])]
    grid = [float(line.attrib["y1"]) for line in root.findall("line") if line.get("class") == "grid"]
    assert 2 <= len(grid) <= 12
    assert min(grid) - 0.1 <= min(heights) and max(heights) <= max(grid) + 0.1


def test_a_spike_in_a_long_curve_stays_visible() -> None:
    y = np.zeros(100_000)
    y[43_210] = 1.0
    chart = charts.line_chart({"loss": (np.arange(len(y)), y)}, "step", "loss")
    assert len(chart) < 60_000
    raw = next(path for path in svg_of(chart).findall("path") if "raw" in path.attrib["class"])
    heights = [float(number) for number in re.findall(r"[ML][\d.]+ ([\d.]+)", raw.attrib["d"])]
    assert min(heights) < 20


@pytest.mark.parametrize(("x", "y", "message"), [([0, 1], [0], "2 x and 1 y"), ([0], [np.nan], "no finite point")])
def test_curves_that_cannot_be_drawn_are_refused(x: list[float], y: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        charts.line_chart({"loss": (x, y)}, "step", "loss")


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
