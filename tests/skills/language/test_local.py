"""The local decomposer with random weights: whatever they say keeps to the schema."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.skills.language.local import LocalDecomposer, _Held
from world2act_core.skills.language.prompt import messages
from world2act_core.skills.language.schema import MAX_PROMPT, answer_schema, max_steps, possible_steps
from world2act_core.skills.types import EventKind, StepKind, Usage

pytest.importorskip("transformers", reason="needs the extra language")
pytest.importorskip("llguidance", reason="needs the extra language")

from tests.skills.language.test_prompt import INJECTIONS
from tests.skills.language.tiny_model import MARKERS, NO_SYSTEM, save_tiny_model

GRASP, RELEASE, CONTACT = EventKind.GRASP, EventKind.RELEASE, EventKind.CONTACT
INSTRUCTION = "put the bowl on the plate"


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("weights"), seed=0)


@pytest.fixture
def decomposer(weights: Path, tmp_path: Path) -> LocalDecomposer:
    return LocalDecomposer(weights, device="cpu", cache=tmp_path / "answers")


def raw_answer(decomposer: LocalDecomposer) -> str:
    (file,) = decomposer.cache.folder.glob("*.json")
    return json.loads(file.read_text())["answer"]


def assert_keeps_to_schema(text: str, events: Sequence[EventKind]) -> None:
    content: Any = json.loads(text)
    assert list(content) == ["steps"]
    assert 1 <= len(content["steps"]) <= max_steps(events)
    for step in content["steps"]:
        assert list(step) == ["prompt", "kind", "events"]
        assert 1 <= len(step["prompt"]) <= MAX_PROMPT
        assert (step["kind"], step["events"]) in [(kind.value, count) for kind, count in possible_steps(events)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("events", [(), (CONTACT,), (GRASP, RELEASE), (CONTACT, GRASP, RELEASE)])
def test_any_weights_keep_to_the_schema(seed: int, events: tuple[EventKind, ...], tmp_path: Path) -> None:
    weights = save_tiny_model(tmp_path / "weights", seed)
    decomposer = LocalDecomposer(weights, device="cpu", cache=tmp_path / "answers")
    answer = decomposer.decompose(INSTRUCTION, events)
    assert_keeps_to_schema(raw_answer(decomposer), events)
    assert bool(answer.steps) != bool(answer.rejected)


def test_blanks_between_the_parts_of_an_answer_are_impossible(decomposer: LocalDecomposer) -> None:
    model = decomposer._loaded  # a weak model would go on with them until the limit
    held = _Held(model.vocabulary, answer_schema((CONTACT,)), asked=0)
    brace, blank, quote = model.tokenizer.convert_tokens_to_ids(["{", "\u0120", '"'])  # byte-level name of a blank
    scores = held(torch.tensor([[brace]]), torch.zeros(1, model.network.config.vocab_size))
    assert scores[0, quote] == 0
    assert scores[0, blank] == -torch.inf


def test_a_well_formed_answer_that_fits_the_events_is_used(decomposer: LocalDecomposer) -> None:
    # Without events the schema leaves only one move, whose words these weights choose at random.
    (step,) = decomposer.decompose("move to the sink", ()).steps
    assert (step.kind, step.events) == (StepKind.MOVE, 0)


@pytest.mark.parametrize("instruction", INJECTIONS)
def test_no_instruction_leads_out_of_the_schema(instruction: str, decomposer: LocalDecomposer) -> None:
    decomposer.decompose(instruction, (GRASP, RELEASE))
    assert_keeps_to_schema(raw_answer(decomposer), (GRASP, RELEASE))


@pytest.mark.parametrize("template", [None, "chat"])
def test_no_instruction_spells_a_role_marker_of_the_model(
    template: str | None, weights: Path, tmp_path: Path, decomposer: LocalDecomposer
) -> None:
    if template is None:
        folder = save_tiny_model(tmp_path / "plain", seed=0, template=None)
        decomposer = LocalDecomposer(folder, device="cpu", cache=tmp_path / "answers")
    model = decomposer._loaded
    markers = set(model.tokenizer.convert_tokens_to_ids(MARKERS))

    def marked(instruction: str) -> list[int]:
        return [token for token in model._encode(messages(instruction, ()))[0].tolist() if token in markers]

    expected = marked(INSTRUCTION)
    assert expected  # else nothing would be tested
    for instruction in [*INJECTIONS, *MARKERS]:
        assert marked(instruction) == expected


def test_the_same_question_has_one_answer_and_the_cache_gives_it_without_the_model(
    weights: Path, tmp_path: Path
) -> None:
    first = LocalDecomposer(weights, device="cpu", cache=tmp_path / "one")
    again = LocalDecomposer(weights, device="cpu", cache=tmp_path / "one")
    afresh = LocalDecomposer(weights, device="cpu", cache=tmp_path / "two")
    answer = first.decompose(INSTRUCTION, (GRASP, RELEASE))
    assert answer.usage.calls == 1
    cached = again.decompose(INSTRUCTION, (GRASP, RELEASE))
    assert (cached.steps, cached.rejected, cached.usage) == (answer.steps, answer.rejected, Usage())
    assert "_loaded" not in vars(again)
    assert afresh.decompose(INSTRUCTION, (GRASP, RELEASE)) == answer


def test_other_weights_in_the_same_folder_are_asked_anew(tmp_path: Path) -> None:
    for seed in (1, 2):
        weights = save_tiny_model(tmp_path / "weights", seed)
        decomposer = LocalDecomposer(weights, device="cpu", cache=tmp_path / "answers")
        assert decomposer.decompose(INSTRUCTION, (GRASP, RELEASE)).usage.calls == 1
    assert len(list(decomposer.cache.folder.glob("*.json"))) == 2


def test_tokens_are_counted(decomposer: LocalDecomposer) -> None:
    usage = decomposer.decompose(INSTRUCTION, (GRASP, RELEASE)).usage
    assert usage.prompt_tokens == decomposer._loaded._encode(messages(INSTRUCTION, (GRASP, RELEASE))).shape[1]
    tokenizer = decomposer._loaded.tokenizer
    assert usage.completion_tokens >= len(tokenizer(raw_answer(decomposer)).input_ids)
    assert usage.cost == 0.0


def test_an_answer_that_was_cut_off_is_rejected_with_that_reason(weights: Path, tmp_path: Path) -> None:
    decomposer = LocalDecomposer(weights, max_tokens=5, device="cpu", cache=tmp_path)
    for calls in (1, 0):  # also from the cache
        answer = decomposer.decompose(INSTRUCTION, (GRASP, RELEASE))
        assert answer.steps == ()
        assert "cut off at the limit of tokens, after 5" in answer.rejected
        assert answer.usage.calls == calls


def test_a_template_without_a_system_role_gets_one_message(tmp_path: Path) -> None:
    weights = save_tiny_model(tmp_path / "weights", seed=0, template=NO_SYSTEM)
    decomposer = LocalDecomposer(weights, device="cpu", cache=tmp_path / "answers")
    decomposer.decompose(INSTRUCTION, (CONTACT,))
    assert_keeps_to_schema(raw_answer(decomposer), (CONTACT,))


def test_a_context_that_is_too_short_is_said(weights: Path, tmp_path: Path) -> None:
    decomposer = LocalDecomposer(weights, max_tokens=8000, device="cpu", cache=tmp_path)
    with pytest.raises(World2ActError, match="holds 8192 tokens"):
        decomposer.decompose(INSTRUCTION, (GRASP,))


def test_weights_that_are_not_there_are_named_with_the_command_that_brings_them(tmp_path: Path) -> None:
    with pytest.raises(World2ActError, match="'hf download nobody/no-such-model'"):
        LocalDecomposer("nobody/no-such-model", cache=tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(World2ActError, match="there is no folder .*nowhere"):
        LocalDecomposer(tmp_path / "nowhere", cache=tmp_path)


@pytest.mark.parametrize("lost", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_model_that_is_not_complete_is_named(lost: str, tmp_path: Path) -> None:
    weights = save_tiny_model(tmp_path / "weights", seed=0)
    (weights / lost).unlink()
    decomposer = LocalDecomposer(weights, device="cpu", cache=tmp_path / "answers")
    with pytest.raises(World2ActError, match="cannot be loaded.*complete the folder") as caught:
        decomposer.decompose(INSTRUCTION, (GRASP,))
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    weights = save_tiny_model(tmp_path / "weights", seed=0)
    (weights / "model.safetensors").write_bytes(b"not weights")
    decomposer = LocalDecomposer(weights, device="cpu", cache=tmp_path / "answers")
    with pytest.raises(World2ActError, match="cannot be loaded"):
        decomposer.decompose(INSTRUCTION, (GRASP,))


@pytest.mark.parametrize("package", ["transformers", "llguidance"])
def test_a_missing_extra_is_named(package: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'world2act\[language\]'"):
        LocalDecomposer(weights, cache=tmp_path)


def test_importing_the_decomposers_imports_nothing_heavy() -> None:
    script = (
        "import sys, world2act_core.skills.language.local, world2act_core.skills.language.endpoint\n"
        "assert not {'torch', 'transformers', 'llguidance', 'huggingface_hub'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
