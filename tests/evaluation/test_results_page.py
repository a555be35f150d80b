"""The page of every stored result: each file's figures are its reader's, and nothing is dropped in silence."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.evaluation import stored_results as stored
from world2act_core.errors import World2ActError
from world2act_core.evaluation.signature import KEY_VARIABLE
from world2act_core.recipes.results import readers
from world2act_core.recipes.results.collect import collect, commit_times
from world2act_core.recipes.results.page import write_results_page
from world2act_core.recipes.study import records


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


class PageReader(HTMLParser):
    """Texts by the element in which they stand; fails on elements that are not closed in their order."""

    VOID = frozenset({"meta", "link", "input", "br", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.content = ""
        self.feed(html)
        self.close()
        assert self.stack == [], f"never closed: {self.stack}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][1].get("id") == "content" and self.stack[-1] == "script":
            self.content += data


def page_of(*folders: Path, out: Path) -> dict[str, Any]:
    write_results_page(folders, out)
    content: dict[str, Any] = json.loads(PageReader(out.read_text(encoding="utf-8")).content)
    return content


def starts_of(content: dict[str, Any], row: dict[str, Any]) -> dict[str, bool]:
    return {content["starts"][n]: o == "1" for n, o in zip(row["starts"], row["outcomes"], strict=True)}


def test_an_evaluation_has_a_row_a_task_with_the_readers_figures(tmp_path: Path) -> None:
    written = stored.evaluation(tmp_path / "e", {0: "1010", 8: "01111"}, finished="2026-02-03T04:05:06+00:00")
    content = page_of(tmp_path, out=tmp_path / "results.html")
    assert [(row["task"], row["successes"], row["n"]) for row in content["rows"]] == [("0", 2, 4), ("8", 4, 5)]
    for row in content["rows"]:
        expected = written.of_task(int(row["task"]))
        assert starts_of(content, row) == {trial.start_id: trial.success for trial in expected}
        assert row["steps"] == sum(trial.steps for trial in expected) / len(expected)
        assert (row["policy"], row["words"]) == ("compact:a.pt", f"instruction {row['task']}")
        assert (row["date"], row["datedBy"], row["commit"]) == (written.finished, "finished", stored.COMMIT)
    (file,) = content["files"]
    assert (file["kind"], file["embodiment"], file["assets"]) == ("evaluation", "libero_panda", "")
    assert file["facts"]["protocol"] == written.protocol and file["facts"]["versions"] == written.versions


def test_runs_gates_and_studies_have_a_row_for_each_policy(tmp_path: Path) -> None:
    stored.run(tmp_path / "demo", "0001", "1101")
    stored.gate(tmp_path / "gated", "00100000", "11111101")
    stored.study(tmp_path / "study", 0, {"base": "0101", "good": "1111"})
    content = page_of(tmp_path, out=tmp_path / "results.html")
    found = {(content["files"][row["file"]]["kind"], row["policy"], row["part"]): row for row in content["rows"]}
    run, gated = f"run:{tmp_path / 'demo'}", f"run:{tmp_path / 'gated'}"
    assert {key: (row["successes"], row["n"]) for key, row in found.items()} == {
        ("run", f"{run}#base", ""): (1, 4),
        ("run", run, ""): (3, 4),
        ("gate", f"{gated}#base", ""): (1, 8),
        ("gate", gated, ""): (7, 8),
        ("study", "base", "held_out"): (2, 4),
        ("study", "good", "held_out"): (4, 4),
    }
    assert {(row["suite"], row["task"]) for row in content["rows"]} == {("libero_goal", "8")}
    assert found["gate", gated, ""]["date"] == "2026-03-01T12:00:00+00:00"
    assert found["study", "good", "held_out"]["metrics"] == {"loss": [0.25, 0], "minutes to make": [1.5, 0]}
    assert readers.STUDY == records.SCHEMA


def test_what_a_method_did_once_for_all_seeds_is_one_row(tmp_path: Path) -> None:
    for seed in (0, 1):
        stored.study(tmp_path, seed, {"base": "0101", "good": f"1{seed}11"})
    rows = page_of(tmp_path, out=tmp_path / "results.html")["rows"]
    assert [row["policy"] for row in rows] == ["base", "good", "good"]
    assert rows[0]["copies"] == [str(tmp_path / "cells" / "libero_goal_8_s1.json")]


def test_a_copied_file_counts_once_and_overlapping_folders_too(tmp_path: Path) -> None:
    stored.evaluation(tmp_path / "a", {0: "1010"})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "evaluation.json").write_bytes((tmp_path / "a" / "evaluation.json").read_bytes())
    stored.evaluation(tmp_path / "c", {0: "1010"}, policy="compact:b.pt")
    rows = page_of(tmp_path, tmp_path / "a", out=tmp_path / "results.html")["rows"]
    assert [(row["policy"], row["copies"]) for row in rows] == [
        ("compact:a.pt", [str(tmp_path / "b" / "evaluation.json")]),
        ("compact:b.pt", []),
    ]


def test_every_file_that_cannot_be_read_is_told_with_its_reason(tmp_path: Path) -> None:
    stored.evaluation(tmp_path / "good", {0: "10"})
    for name in ("edited", "torn", "foreign", "newer", "odd"):
        stored.evaluation(tmp_path / name, {0: "000"})
    file = "evaluation.json"
    stored.edit(tmp_path / "edited" / file, lambda raw: raw["all"].update(successes=3))
    (tmp_path / "torn" / file).write_bytes((tmp_path / "torn" / file).read_bytes()[:200])
    (tmp_path / "foreign" / file).write_text('{"accuracy": 1}')
    stored.edit(tmp_path / "newer" / file, lambda raw: raw.update(schema="world2act.suite/9"))
    stored.edit(tmp_path / "odd" / file, lambda raw: raw.update(policy="a.pt"))
    stored.gate(tmp_path / "gated", "00100000", "11111101")
    stored.edit(tmp_path / "gated" / "gate.json", lambda raw: raw.update(alpha=0.5))
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "trials.jsonl").write_text("{}\n")
    (tmp_path / "manifest.json").write_text("{}")
    content = page_of(tmp_path, out=tmp_path / "results.html")
    why = {Path(entry["file"]).parent.name: entry["why"] for entry in content["unread"]}
    assert set(why) == {"edited", "torn", "foreign", "newer", "odd", "gated", "killed"}
    assert "do not follow from its trials" in why["edited"] and "is not JSON" in why["torn"]
    assert "schema None" in why["foreign"] and "world2act.suite/9" in why["newer"]
    assert "was edited after it was signed" in why["gated"] and "has not ended" in why["killed"]
    assert "wrong kind" in why["odd"]
    assert (len(content["rows"]), content["other"]) == (1, 1)
    html = (tmp_path / "results.html").read_text()
    assert all(str(Path(entry["file"])) in html for entry in content["unread"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_entered_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    assert list(collect([tmp_path]).unread) == [tmp_path / "closed"]


def test_a_folder_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(World2ActError, match="nowhere does not exist: name folders"):
        collect([tmp_path / "nowhere"])


def test_numbers_of_trials_tasks_and_results_become_columns(tmp_path: Path) -> None:
    stored.evaluation(tmp_path, {0: "1100", 8: "10"})

    def extend(raw: dict[str, Any]) -> None:
        raw["latency"] = {"p99_ms": 12.5, "rows": [1, 2]}
        raw["tasks"][1]["holds"] = 7
        for index, trial in enumerate(raw["trials"]):
            trial.update(safety={"limit_hits": index}, restarted=index == 3, note="text")

    stored.edit(tmp_path / "evaluation.json", extend)
    rows = page_of(tmp_path, out=tmp_path / "results.html")["rows"]
    assert rows[0]["metrics"] == {"latency.p99_ms": [12.5, 0], "restarted": [0.25, 4], "safety.limit_hits": [1.5, 4]}
    assert rows[1]["metrics"] == {
        "holds": [7, 0], "latency.p99_ms": [12.5, 0], "restarted": [0, 2], "safety.limit_hits": [4.5, 2],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("where", "assets", "label"),
    [
        ("", "placeholder", "placeholder"),
        ("", {"label": "placeholder assets", "missing": 3}, "placeholder assets"),
        ("rendering", {"placeholder": True}, "placeholder True"),
        ("protocol", "official", "official"),
    ],
)
def test_assets_are_labelled_wherever_a_result_states_them(tmp_path: Path, where: str, assets: Any, label: str) -> None:
    stored.evaluation(tmp_path, {0: "10"})
    stored.edit(tmp_path / "evaluation.json", lambda raw: (raw[where] if where else raw).update(assets=assets))
    (file,) = page_of(tmp_path, out=tmp_path / "results.html")["files"]
    assert file["assets"] == label


def test_links_are_relative_and_lead_to_the_videos_of_the_starts(tmp_path: Path) -> None:
    folder = tmp_path / "eval" / "base #1"
    stored.evaluation(folder, {0: "00", 8: "0" * 13})
    for name in ("libero_goal-0-i1.mp4", "failure-libero_goal-8-i12-policy.webm", "overview.mp4"):
        (folder / "videos").mkdir(exist_ok=True)
        (folder / "videos" / name).touch()
    (folder / "report.html").touch()
    (tmp_path / "stray.mp4").touch()
    out = tmp_path / "pages" / "results.html"
    content = page_of(tmp_path / "eval", out=out)
    names = [[video["name"] for video in row["videos"]] for row in content["rows"]]
    assert names == [["libero_goal-0-i1"], ["failure-libero_goal-8-i12-policy"]]
    (file,) = content["files"]
    assert [entry["name"] for entry in file["links"]] == ["report.html", "overview"]
    links = [video for row in content["rows"] for video in row["videos"]] + file["links"] + [file]
    for entry in links:
        assert (out.parent / unquote(entry["href"])).is_file() and "#" not in entry["href"]


def test_a_file_without_a_stamp_is_dated_by_its_commit_and_else_by_itself(tmp_path: Path) -> None:
    times = commit_times()
    if not times:
        pytest.skip("not a checkout: no commit has a time")
    commit = next(iter(times))
    stored.evaluation(tmp_path / "known", {0: "10"}, commit=commit)
    stored.evaluation(tmp_path / "unknown", {0: "11"})
    os.utime(tmp_path / "unknown" / "evaluation.json", (1e9, 1e9))
    rows = page_of(tmp_path, out=tmp_path / "results.html")["rows"]
    assert datetime.fromisoformat(rows[0]["date"]) == datetime.fromisoformat(times[commit]).astimezone(timezone.utc)
    assert [row["datedBy"] for row in rows] == ["commit", "file"] and rows[1]["date"] == "2001-09-09T01:46:40+00:00"


def test_hostile_names_stay_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = '</script><img src=x onerror="alert(1)">\u2028'
    folder = tmp_path / "<b>" / 'javascript:alert(1)"'
    stored.evaluation(folder, {0: "0"}, policy=evil)
    (folder / "evil.mp4").touch()
    (tmp_path / "<i>").mkdir()
    (tmp_path / "<i>" / "results.json").write_text(json.dumps({"schema": evil}))
    out = tmp_path / "results.html"
    content = page_of(tmp_path, out=out)
    page = PageReader(out.read_text(encoding="utf-8"))
    assert content["rows"][0]["policy"] == evil
    assert not {"img", "b", "i"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    monkeypatch.chdir(folder)
    (from_inside,) = page_of(Path(), out=folder / "results.html")["files"]
    assert [entry["href"] for entry in from_inside["links"]] == ["evil.mp4"]


def test_the_page_loads_nothing_and_runs_its_own_script_only(tmp_path: Path) -> None:
    stored.evaluation(tmp_path, {0: "10"})
    page_of(tmp_path, out=tmp_path / "results.html")
    page = PageReader((tmp_path / "results.html").read_text())
    policy = next(a["content"] for tag, a in page.elements if tag == "meta" and "http-equiv" in a) or ""
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy and "unsafe-inline'; script" in policy
    loaded = [a[name] for _, a in page.elements for name in ("src", "srcset", "action") if name in a]
    assert loaded == [] and [a["href"] for tag, a in page.elements if tag == "link"] == ["data:,"]
    assert not [a for tag, a in page.elements if tag == "script" and "src" in a]
