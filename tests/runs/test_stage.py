"""A run is a folder: sealed stages are not repeated, changed ones are, killed ones resume."""

from __future__ import annotations

import json
import sys

import pytest

from world2act_core.errors import RunError
from world2act_core.runs import Run, Stage
from world2act_core.runs.stage import MANIFEST, read_stage


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
