"""A run is a folder: sealed stages are not repeated, changed ones are, killed ones resume."""

from __future__ import annotations

import json
import sys
import time

import pytest

from world2act_core.errors import RunError
from world2act_core.runs import Run, Stage
from world2act_core.runs.stage import MANIFEST, read_stage, remember_sources, source_of


def writer(text: str, calls: list[str]):
    def work(stage: Stage) -> None:
        calls.append(stage.name)
        stage.path("out.txt").write_text(text)

    return work


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run", announce=lambda line: None)


def test_a_sealed_stage_is_not_run_again(run):
    calls: list[str] = []
    first = run.stage("a", writer("x", calls), config={"n": 1})
    again = run.stage("a", writer("x", calls), config={"n": 1})
    assert calls == ["a"]
    assert again.digest == first.digest


def test_a_changed_configuration_runs_the_stage_and_those_that_read_it(run):
    calls: list[str] = []
    for text, n in (("x", 1), ("y", 2)):
        first = run.stage("a", writer(text, calls), config={"n": n})
        run.stage("b", writer("same", calls), inputs=[first])
    assert calls == ["a", "b", "a", "b"]


def test_a_changed_source_runs_the_stage_again(run, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    calls: list[str] = []
    for name in ("one", "two"):
        (tmp_path / f"code_{name}.py").write_text(f"VALUE = {name!r}\n")
        module = __import__(f"code_{name}")
        run.stage("a", writer("x", calls), code=[module])
        del sys.modules[f"code_{name}"]
    assert calls == ["a", "a"]


def test_partial_work_is_kept_after_a_failure_and_cleared_when_the_key_changes(run):
    def fails(stage: Stage) -> None:
        (stage.scratch / "half").write_text("half")
        raise RuntimeError("killed")

    seen: list[bool] = []

    def resumes(stage: Stage) -> None:
        seen.append((stage.scratch / "half").exists())

    with pytest.raises(RuntimeError):
        run.stage("a", fails, config={"n": 1})
    run.stage("a", resumes, config={"n": 1})
    with pytest.raises(RuntimeError):
        run.stage("b", fails, config={"n": 1})
    run.stage("b", resumes, config={"n": 2})
    assert seen == [True, False]


def test_the_manifest_tells_configuration_inputs_hashes_and_starts(run):
    first = run.stage("a", writer("x", []), config={"n": 1})

    def work(stage: Stage) -> None:
        stage.starts.append("libero_goal/8/i0")
        stage.metrics["loss"] = 0.5
        stage.path("out.txt").write_text("y")

    stage = run.stage("b", work, inputs=[first])
    manifest = json.loads((stage.folder / MANIFEST).read_text())
    assert manifest["inputs"] == {"a": first.digest}
    assert set(manifest["outputs"]) == {"out.txt"}
    assert manifest["starts"] == ["libero_goal/8/i0"]
    assert manifest["metrics"] == {"loss": 0.5}
    assert {"python", "numpy", "world2act"} <= set(manifest["versions"])


def test_a_result_that_changed_after_sealing_is_refused(run):
    stage = run.stage("a", writer("x", []))
    assert read_stage(stage.folder).digest == stage.digest
    stage.path("out.txt").write_text("tampered")
    with pytest.raises(RunError, match=r"out\.txt has changed"):
        read_stage(stage.folder)


def test_an_unfinished_stage_cannot_be_read(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(RunError, match="was not finished"):
        read_stage(tmp_path / "a")


def test_a_sealed_stage_whose_file_is_gone_is_run_again(run):
    calls: list[str] = []
    run.stage("a", writer("x", calls)).path("out.txt").unlink()
    again = run.stage("a", writer("x", calls))
    assert calls == ["a", "a"]
    assert again.path("out.txt").read_text() == "x"


def test_two_processes_cannot_work_in_one_run_folder(run):
    with pytest.raises(RunError, match="another process is working in"):
        Run(run.folder, announce=lambda line: None)


def test_a_fixed_run_refuses_what_was_made_of_something_else_and_keeps_it(run):
    fixed = Run(run.folder / "fixed", announce=lambda line: None, fixed=True)
    sealed = fixed.stage("a", writer("x", []), config={"n": 1})
    assert fixed.stage("a", writer("y", []), config={"n": 1}).digest == sealed.digest
    with pytest.raises(RunError, match=r"fixed/a was made of another configuration, code or input.*remove this one"):
        fixed.stage("a", writer("y", []), config={"n": 2})
    assert read_stage(sealed.folder).path("out.txt").read_text() == "x"


def test_a_fixed_run_does_not_go_on_with_partial_work_of_something_else(run):
    fixed = Run(run.folder / "fixed", announce=lambda line: None, fixed=True)

    def fails(stage: Stage) -> None:
        (stage.scratch / "half").write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        fixed.stage("a", fails, config={"n": 1})
    with pytest.raises(RunError, match="was made of another configuration"):
        fixed.stage("a", writer("x", []), config={"n": 2})
    assert fixed.stage("a", writer("x", []), config={"n": 1}).digest


def test_a_source_that_is_edited_while_it_is_loaded_changes_no_key(run, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "code_edited.py").write_text("VALUE = 1\n")
    module = __import__("code_edited")
    remember_sources(module)
    (tmp_path / "code_edited.py").write_text("VALUE = 2\n")
    calls: list[str] = []
    run.stage("a", writer("x", calls), code=[module])
    run.stage("a", writer("x", calls), code=[module])
    assert calls == ["a"] and source_of(module) == "VALUE = 1\n"


def test_seconds_are_those_of_all_resumes(run):
    seen: list[float] = []

    def fails(stage: Stage) -> None:
        time.sleep(0.05)
        raise RuntimeError("killed")

    def resumes(stage: Stage) -> None:
        seen.append(stage.seconds)

    with pytest.raises(RuntimeError):
        run.stage("a", fails)
    assert run.stage("a", resumes).seconds >= seen[0] >= 0.05


def test_a_file_in_the_way_of_a_run_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match="cannot be a folder, there is a file in its way"):
            Run(folder)
