"""Charts show the data they were given, whatever its range."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from world2act_core.pages import charts


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


def bars_of(chart: str) -> list[dict[str, float]]:
    rects = [rect for rect in svg_of(chart).findall("rect") if "bar" in rect.attrib["class"]]
    return [{key: float(rect.attrib[key]) for key in ("x", "y", "width", "height")} for rect in rects]


def test_the_bars_of_a_histogram_stand_on_their_bins_and_are_as_high_as_their_values() -> None:
    chart = charts.histogram([10, 0, 20], [0, 1, 2, 3], "seconds", "% of all")
    low, none, high = bars_of(chart)
    axis = next(line for line in svg_of(chart).findall("line") if line.get("class") == "axis")
    assert high["height"] == pytest.approx(2 * low["height"]) and none["height"] == 0
    assert low["y"] + low["height"] == high["y"] + high["height"] == float(axis.attrib["y1"])
    third = (float(axis.attrib["x2"]) - float(axis.attrib["x1"])) / 3
    assert high["x"] - none["x"] == pytest.approx(third, abs=0.2) == none["x"] - low["x"]
    assert low["x"] == pytest.approx(float(axis.attrib["x1"]), abs=0.6)


def test_two_histograms_of_one_top_have_one_scale() -> None:
    small = bars_of(charts.histogram([5], [0, 1], "seconds", "%", top=40))
    large = bars_of(charts.histogram([40], [0, 1], "seconds", "%", top=40))
    assert large[0]["height"] == pytest.approx(8 * small[0]["height"], abs=1)


def test_a_histogram_shades_its_band_and_marks_its_middle() -> None:
    root = svg_of(charts.histogram([1, 1, 1, 1], [0, 1, 2, 3, 4], "seconds", "%", band=(1, 3), mark=2))
    band = next(rect for rect in root.findall("rect") if rect.attrib["class"] == "band")
    mark = next(path for path in root.findall("path") if path.attrib["class"] == "mark")
    left, width = float(band.attrib["x"]), float(band.attrib["width"])
    assert float(mark.attrib["d"].split()[0][1:]) == pytest.approx(left + width / 2, abs=0.2)
    axis = next(line for line in root.findall("line") if line.get("class") == "axis")
    assert width == pytest.approx((float(axis.attrib["x2"]) - float(axis.attrib["x1"])) / 2, abs=0.2)


@pytest.mark.parametrize(("heights", "edges"), [([], [0]), ([1, 2], [0, 1]), ([1], [0, 1, 2])])
def test_a_histogram_whose_edges_do_not_fit_is_refused(heights: list[float], edges: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        charts.histogram(heights, edges, "seconds", "%")
