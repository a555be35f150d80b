"""Answers on disk: whole or not there, and safe in the hands of two processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from world2act_core.errors import World2ActError
from world2act_core.skills.language.cache import AnswerCache, Reply, default_folder
from world2act_core.skills.types import Usage

QUESTION = {"model": "m", "parameters": {"temperature": 0}, "messages": [{"role": "user", "content": "Grüße \ud800"}]}
REPLY = Reply("the answer", False, Usage(1, 10, 20, 0.5))


@pytest.fixture
def cache(tmp_path: Path) -> AnswerCache:
    return AnswerCache(tmp_path / "answers")


def test_a_reply_comes_back_as_it_was(cache: AnswerCache) -> None:
    assert cache.get(QUESTION) is None
    cache.put(QUESTION, REPLY, rejected="")
    assert AnswerCache(cache.folder).get(QUESTION) == REPLY


def test_the_file_says_what_was_asked_answered_and_rejected(cache: AnswerCache) -> None:
    cache.put(QUESTION, REPLY, rejected="too long")
    (file,) = cache.folder.iterdir()
    content = json.loads(file.read_text())
    assert (content["question"], content["answer"], content["rejected"]) == (QUESTION, "the answer", "too long")


@pytest.mark.parametrize("change", [{"model": "n"}, {"parameters": {"temperature": 1}}, {"messages": []}])
def test_any_change_of_the_question_is_another_question(cache: AnswerCache, change: dict[str, object]) -> None:
    cache.put(QUESTION, REPLY, rejected="")
    assert cache.get({**QUESTION, **change}) is None


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"question": 1}', b"[" * 100_000, b"half"],
)
def test_a_damaged_file_is_no_answer_and_is_written_anew(cache: AnswerCache, damage: bytes) -> None:
    path = cache.path(QUESTION)
    cache.put(QUESTION, REPLY, rejected="")
    path.write_bytes(path.read_bytes()[:60] if damage == b"half" else damage)
    assert cache.get(QUESTION) is None
    cache.put(QUESTION, REPLY, rejected="")
    assert cache.get(QUESTION) == REPLY


@pytest.mark.parametrize("change", [{"answer": 7}, {"usage": {"euros": 1}}, {"question": {"model": "another"}}])
def test_a_file_that_was_changed_by_hand_is_no_answer(cache: AnswerCache, change: dict[str, object]) -> None:
    cache.put(QUESTION, REPLY, rejected="")
    path = cache.path(QUESTION)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert cache.get(QUESTION) is None


def test_two_processes_may_write_and_read_the_same_answers(cache: AnswerCache) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from world2act_core.skills.language.cache import AnswerCache, Reply\n"
        "from world2act_core.skills.types import Usage\n"
        "cache = AnswerCache(Path(sys.argv[1]))\n"
        "for turn in range(200):\n"
        "    question, reply = {'model': str(turn % 3)}, Reply('x' * 50_000, False, Usage(1))\n"
        "    cache.put(question, reply, '')\n"
        "    assert cache.get(question) == reply, turn\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(cache.folder)]) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(list(cache.folder.iterdir())) == 3  # and no temporary file is left


def test_a_folder_that_cannot_be_made_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(World2ActError, match="name another folder"):
        AnswerCache(tmp_path / "file" / "answers")


def test_an_answer_that_cannot_be_kept_is_no_silent_loss(cache: AnswerCache) -> None:
    cache.folder.rmdir()
    with pytest.raises(World2ActError, match="cannot be kept"):
        cache.put(QUESTION, REPLY, rejected="")


def test_the_default_is_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "world2act" / "language"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification: to be ignored
    assert default_folder() == Path.home() / ".cache" / "world2act" / "language"
