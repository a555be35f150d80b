"""What the two decomposers that ask a language model share: prompt, cache, check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from world2act_core.skills.language.answer import read_answer
from world2act_core.skills.language.cache import AnswerCache, Reply, default_folder
from world2act_core.skills.language.prompt import messages, refuse
from world2act_core.skills.types import Decomposition, EventKind

Messages = list[dict[str, str]]


class LanguageDecomposer(ABC):
    """Splits instructions with a language model; the same question is asked once.

    Args:
        name: for logs and manifests.
        cache: folder of the answers; None keeps them in the user's cache folder.
    """

    def __init__(self, name: str, cache: Path | None) -> None:
        self.name = name
        self.cache = AnswerCache(cache or default_folder())

    def decompose(self, instruction: str, events: Sequence[EventKind]) -> Decomposition:
        """The steps of an instruction whose episode showed these events; see ``types.Decomposer``.

        Raises:
            World2ActError: the model cannot be asked (no weights, no key, endpoint down); nothing is kept then.
        """
        if reason := refuse(instruction, events):
            return Decomposition((), rejected=reason)
        chat = messages(instruction, events)
        question = {**self._identity(), "messages": chat}
        if known := self.cache.get(question):
            return _read(known, events)
        reply = self._ask(chat, events)
        decomposition = _read(reply, events)
        self.cache.put(question, reply, decomposition.rejected)
        return replace(decomposition, usage=reply.usage)

    @abstractmethod
    def _identity(self) -> dict[str, Any]:
        """What besides the messages decides the answer (JSON values): the model, how it decodes."""

    @abstractmethod
    def _ask(self, chat: Messages, events: Sequence[EventKind]) -> Reply:
        """Put the chat to the model."""


def _read(reply: Reply, events: Sequence[EventKind]) -> Decomposition:
    """Usage is left at zero: that of an answer which was there already."""
    if reply.cut_off:
        tokens = reply.usage.completion_tokens
        return Decomposition((), rejected=f"the answer was cut off at the limit of tokens, after {tokens}")
    return read_answer(reply.text, events)
