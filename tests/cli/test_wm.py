"""``world2act wm``: from bags of a toy world to a model, its report and a latent store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.learning.scenes import EMBODIMENT, square_episode
from world2act_core.cli import INTERRUPTED, main
from world2act_core.episodes import BagWriter
from world2act_core.runs import training
from world2act_core.types import Episode, Skill
from world2act_core.world_model.compact import load_world_model
from world2act_core.world_model.store import LatentStore

PROMPTS = ("push right", "push down")
STEPS = "12"


def recorded(index: int) -> Episode:
    """A square episode as the robot's camera gives it, four pixels for each of the toy's, in two skills."""
    episode = square_episode(index, PROMPTS[index % 2], chunks=6)
    prompt = PROMPTS[index % 2]
    return replace(
        episode,
        images={"agentview": episode.images["agentview"].repeat(4, 1).repeat(4, 2)},
        skills=(Skill(prompt, 0, 10), Skill(f"{prompt} again", 10, 24)),
    )


def write(path: Path, *episodes: Episode) -> Path:
    with BagWriter(path, EMBODIMENT) as bag:
        for episode in episodes:
            bag.write_episode(episode)
    return path


@pytest.mark.parametrize("action", ["train", "evaluate", "imagine", "encode", "cache", "finetune"])
def test_every_action_explains_itself_with_examples_of_its_own(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["wm", action, "--help"])
    assert end.value.code == 0
    examples = capsys.readouterr().out.partition("examples:")[2]
    assert f"wm {action} " in examples
    assert {line.partition("wm ")[2].split()[0] for line in examples.splitlines() if " wm " in line} == {action}


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("bags") / "toy", *(recorded(index) for index in range(12)))


@pytest.fixture(scope="module")
def trained(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("wm")
    assert main(["wm", "train", str(bag), "--out", str(folder), "--steps", STEPS]) == 0
    return folder


def test_training_says_what_it_kept_for_measuring_and_of_which_inputs(trained: Path) -> None:
    manifest = json.loads((trained / "world_model" / "manifest.json").read_text())
    assert manifest["metrics"]["held_out"] == ["square-10", "square-11"]
    assert len(manifest["metrics"]["trained"]) == 10
    assert len(manifest["config"]["inputs_sha256"]) == 64
    assert manifest["config"]["cameras"] == ["agentview"]
    assert load_world_model(trained / "world_model" / "world_model.pt").config.steps == int(STEPS)


def test_a_finished_training_is_not_repeated(trained: Path, bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (trained / "world_model" / "world_model.pt").stat().st_mtime_ns
    assert main(["wm", "train", str(bag), "--out", str(trained), "--steps", STEPS]) == 0
    assert (trained / "world_model" / "world_model.pt").stat().st_mtime_ns == before


def test_a_killed_training_resumes_to_the_same_model(
    trained: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 5)
    whole = training.Checkpointed.save

    def killed(self: training.Checkpointed) -> None:
        whole(self)
        if self.step == 10:
            raise KeyboardInterrupt

    command = ["wm", "train", str(bag), "--out", str(tmp_path), "--steps", STEPS]
    with monkeypatch.context() as patched:
        patched.setattr(training.Checkpointed, "save", killed)
        assert main(command) == INTERRUPTED
    assert main(["wm", "evaluate", str(tmp_path)]) == 2
    assert "has not finished" in capsys.readouterr().err
    assert main(command) == 0
    assert "resuming" in capsys.readouterr().out
    assert main(command) == 0
    resumed, uninterrupted = (
        load_world_model(folder / "world_model" / "world_model.pt").state_dict() for folder in (tmp_path, trained)
    )
    assert all(torch.equal(resumed[name], uninterrupted[name]) for name in uninterrupted)


def test_evaluation_writes_page_sheet_and_film_and_prints_a_line_a_horizon(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["wm", "evaluate", str(trained), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "2 episodes" in printed
    assert [line.split()[0] for line in printed.splitlines()[2:8]] == list("123456")
    assert "temporal consistency" in printed
    assert "nearer the truth than under another prompt" in printed
    assert "Real and imagined" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")
    assert b"ftyp" in (tmp_path / "imagined.mp4").read_bytes()[:16]


def test_other_videos_are_measured_without_those_it_was_trained_on(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write(tmp_path / "other", recorded(0), recorded(20))
    assert main(["wm", "evaluate", str(trained), str(other), "--out", str(tmp_path)]) == 0
    assert "1 episodes" in capsys.readouterr().out


def test_imagination_is_stored_skill_by_skill_with_its_time_base(trained: Path, bag: Path, tmp_path: Path) -> None:
    assert main(["wm", "imagine", str(trained), str(bag), "--out", str(tmp_path)]) == 0
    store = LatentStore(tmp_path)
    assert len(store) == 24
    first, second = store["square-3#0"], store["square-3#1"]
    assert first.meta["prompt"] == "push down"
    assert (first.meta["start_step"], second.meta["start_step"]) == (0, 12)  # chunk 2 begins before step 10
    assert first.meta["steps_per_latent"] == 4
    assert (first.latents.shape[1], second.latents.shape[1]) == (4, 4)
    assert first.meta["mask"] == second.meta["mask"] == [True] * 3


@pytest.mark.parametrize(("begin", "real"), [("skills", True), ("start", False)])
def test_a_later_skill_begins_from_the_real_frame_only_if_asked_to(
    trained: Path, bag: Path, tmp_path: Path, begin: str, real: bool
) -> None:
    assert main(["wm", "imagine", str(trained), str(bag), "--out", str(tmp_path), "--from", begin]) == 0
    store = LatentStore(tmp_path)
    model = load_world_model(trained / "world_model" / "world_model.pt")
    frames = _seen(recorded(3))
    assert torch.equal(store["square-3#0"].latents[:, 0], model.encode_frames(frames[:1])[0])
    assert torch.equal(store["square-3#1"].latents[:, 0], model.encode_frames(frames[3:4])[0]) == real
    if not real:
        assert torch.equal(store["square-3#1"].latents[:, 0], store["square-3#0"].latents[:, -1])


def test_imagining_again_makes_only_what_is_missing(
    trained: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = write(tmp_path / "few", recorded(0), recorded(1))
    store = tmp_path / "store"
    assert main(["wm", "imagine", str(trained), str(few), "--out", str(store)]) == 0
    kept = LatentStore(store)["square-1#1"].latents.clone()
    capsys.readouterr()
    assert main(["wm", "imagine", str(trained), str(bag), "--out", str(store)]) == 0
    assert "20 clips imagined, 4 were there already" in capsys.readouterr().out
    assert torch.equal(LatentStore(store)["square-1#1"].latents, kept)


def test_a_store_of_another_mode_is_refused(
    trained: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["wm", "imagine", str(trained), str(bag), "--out", str(tmp_path), "--from"]
    assert main([*command, "skills"]) == 0
    assert main([*command, "start"]) == 2
    assert "another from" in capsys.readouterr().err


def test_what_really_happened_is_stored_under_the_same_keys_as_what_is_imagined(
    trained: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["wm", "imagine", str(trained), str(bag), "--out", str(tmp_path / "imagined")]) == 0
    assert main(["wm", "encode", str(trained), str(bag), "--out", str(tmp_path / "real")]) == 0
    assert "24 clips encoded, 0 were there already" in capsys.readouterr().out
    imagined, real = LatentStore(tmp_path / "imagined"), LatentStore(tmp_path / "real")
    assert {key: clip.meta for key, clip in real.items()} == {key: clip.meta for key, clip in imagined.items()}
    assert real.identity == {**{k: v for k, v in imagined.identity.items() if k != "from"}, "real": True}
    model = load_world_model(trained / "world_model" / "world_model.pt")
    second_skill = model.encode_frames(_seen(recorded(3))[3:])  # it begins with chunk 3
    assert torch.allclose(real["square-3#1"].latents.transpose(0, 1), second_skill, atol=1e-5)


def test_what_really_happened_is_not_mixed_with_what_is_imagined(
    trained: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["wm", "encode", str(trained), str(bag), "--out", str(tmp_path)]) == 0
    assert main(["wm", "encode", str(trained), str(bag), "--out", str(tmp_path)]) == 0
    assert "0 clips encoded, 24 were there already" in capsys.readouterr().out
    assert main(["wm", "imagine", str(trained), str(bag), "--out", str(tmp_path)]) == 2
    assert "holds latents that were made with another from, real" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--cameras", "wrist"], "no episode below"),
        (["--cameras", "ceiling"], "no camera 'ceiling', only agentview, wrist"),
        (["--steps", "0"], "at least one step"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    bag: Path, tmp_path: Path, more: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["wm", "train", str(bag), "--out", str(tmp_path / "out"), *more]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("world2act wm: ")
    assert sentence in said


def test_recordings_without_videos_are_no_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blind = replace(recorded(0), images={}, frame_steps=recorded(0).frame_steps[:0])
    path = write(tmp_path / "blind", blind)
    assert main(["wm", "train", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "no episode below" in capsys.readouterr().err


def test_a_folder_without_a_model_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wm", "evaluate", str(tmp_path)]) == 2
    assert "world2act wm train" in capsys.readouterr().err


def _seen(episode: Episode) -> torch.Tensor:
    from world2act_core.episodes.chunks import tiled_frames

    return torch.from_numpy(tiled_frames(episode, ("agentview",), 64))
