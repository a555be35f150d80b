"""Instructions split by a language model on this machine, held to the answer's JSON schema while it decodes.

At every token, those that would leave the schema are masked out (llguidance), so even a small or untrained model gives
a well-formed answer, whatever the instruction says. Whether the answer fits the events is checked afterwards.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from world2act_core.errors import MissingExtraError, World2ActError, printable
from world2act_core.skills.language.cache import Reply
from world2act_core.skills.language.decomposer import LanguageDecomposer, Messages
from world2act_core.skills.language.schema import answer_schema
from world2act_core.skills.types import EventKind, Usage

if TYPE_CHECKING:
    from torch import Tensor

MAX_TOKENS = 1024
"""Of an answer. Eight steps in ordinary words take about 250; only a model that rambles is cut off."""


class LocalDecomposer(LanguageDecomposer):
    """Asks a causal language model of ``transformers``, greedily, so that the same question has one answer.

    Args:
        model: a folder, or a name on the Hugging Face hub that was downloaded before. Nothing is downloaded here and
            no code that comes with a model is run.
        max_tokens: an answer that is longer is cut off and rejected.
        device: where the model runs; "" takes CUDA if there is one.
        cache: folder of the answers; None keeps them in the user's cache folder.

    Raises:
        MissingExtraError: the extra ``language`` is not installed.
        World2ActError: the weights are not on this machine.
    """

    def __init__(
        self, model: str | Path, *, max_tokens: int = MAX_TOKENS, device: str = "", cache: Path | None = None
    ) -> None:
        for package in ("transformers", "llguidance"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(
                    f"a local language model needs {package}: install the extra that brings it, "
                    "pip install 'world2act[language]'"
                )
        super().__init__(f"local {model}", cache)
        self.model, self.max_tokens = str(model), max_tokens
        self.device = device
        self._folder = _find_weights(self.model)

    def _identity(self) -> dict[str, Any]:
        return {"model": self.model, "weights": self._fingerprint, "max_tokens": self.max_tokens}

    @cached_property
    def _fingerprint(self) -> str:
        """Stands for the weights without reading them: names, sizes and times of the files.

        Weights that were trained anew in the same folder give new answers; copied ones are merely asked again.
        """
        files = sorted(path for path in self._folder.iterdir() if path.is_file())
        marks = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
        return hashlib.sha256("\n".join(marks).encode()).hexdigest()

    @cached_property
    def _loaded(self) -> _Model:
        """Loaded at the first question that the cache cannot answer."""
        return _Model(self._folder, self.model, self.device)

    def _ask(self, chat: Messages, events: Sequence[EventKind]) -> Reply:
        return self._loaded.answer(chat, answer_schema(events), self.max_tokens)


class _Model:
    """Weights, tokenizer, and the tokenizer once more in the form that llguidance reads."""

    def __init__(self, folder: Path, name: str, device: str) -> None:
        import llguidance.hf
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.name = name
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            network: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype="auto")
            self.tokenizer, self.network = tokenizer, network.to(device).eval()
            ends = network.generation_config.eos_token_id or tokenizer.eos_token_id
            self.ends: list[int] = [ends] if isinstance(ends, int) else list(ends or [])
            if not self.ends:
                raise ValueError("it has no token that ends an answer")
            self.vocabulary = llguidance.hf.from_tokenizer(
                tokenizer, n_vocab=network.get_input_embeddings().num_embeddings, eos_token=self.ends
            )
        except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
            reason = printable(str(error).strip().split("\n")[0])
            mend = "complete the folder" if Path(name).is_dir() else f"complete it with '{_download(name)}'"
            raise World2ActError(
                f"{name} cannot be loaded as a causal language model with a fast tokenizer ({reason}): "
                f"{mend}, or name another model"
            ) from error

    def answer(self, chat: Messages, schema: dict[str, Any], max_tokens: int) -> Reply:
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        prompt = self._encode(chat).to(self.network.device)  # (1, tokens)
        asked = prompt.shape[1]
        context = getattr(self.network.config, "max_position_embeddings", asked + max_tokens)
        if asked + max_tokens > context:
            raise World2ActError(
                f"{self.name} holds {context} tokens, but the question has {asked} and its answer up to {max_tokens}: "
                "name a model with a longer context, or allow fewer tokens"
            )
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_tokens,
            eos_token_id=self.ends,
            pad_token_id=self.ends[0],
        )
        with torch.inference_mode():
            tokens = self.network.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                generation_config=settings,
                logits_processor=LogitsProcessorList([_Held(self.vocabulary, schema, asked)]),
            )
        said = tokens[0, asked:].tolist()
        text = self.tokenizer.decode(said, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Reply(text, cut_off=said[-1] not in self.ends, usage=Usage(1, asked, len(said)))

    def _encode(self, chat: Messages) -> Tensor:
        """Token ids of the chat, ``(1, tokens)``, up to where the answer begins."""
        from jinja2 import TemplateError

        if not self.tokenizer.chat_template:
            text = "\n\n".join(message["content"] for message in chat) + "\n\nAnswer:\n"
            return self.tokenizer(text, return_tensors="pt").input_ids
        # A model that can think aloud is told not to: the schema leaves no place for it. Others ignore the argument.
        form = partial(
            self.tokenizer.apply_chat_template, add_generation_prompt=True, tokenize=False, enable_thinking=False
        )
        try:
            text = form(chat)
        except TemplateError:  # some models know no system message
            text = form([{"role": "user", "content": "\n\n".join(message["content"] for message in chat)}])
        return self.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids


class _Held:
    """Masks tokens that would leave the schema; one answer's state, called once a token by ``generate``."""

    def __init__(self, vocabulary: Any, schema: dict[str, Any], asked: int) -> None:
        from llguidance import LLMatcher

        # Free whitespace would let a weak model go on with blanks until the limit.
        grammar = LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False})
        self.matcher = LLMatcher(vocabulary, grammar)
        self.seen = asked

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        """Scores with the impossible at minus infinity; ``ids`` is ``(1, tokens)``, ``scores`` ``(1, vocabulary)``."""
        import torch

        self.matcher.consume_tokens(ids[0, self.seen :].tolist())
        self.seen = ids.shape[1]
        bits = np.frombuffer(self.matcher.compute_bitmask(), np.uint8)
        if self.matcher.is_error():
            raise World2ActError(
                f"the answer cannot be held to its schema ({self.matcher.get_error()}): name another model"
            )
        allowed = np.unpackbits(bits, bitorder="little")[: scores.shape[1]].astype(bool)
        return scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -np.inf)


def _find_weights(name: str) -> Path:
    """Folder of a model that is on this machine."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    if Path(name).is_dir():
        return Path(name)
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except HFValidationError as error:
        raise World2ActError(
            f"there is no folder {name}: name one that holds a model, or a model of the Hugging Face hub"
        ) from error
    except LocalEntryNotFoundError as error:
        raise World2ActError(
            f"the weights of {name} are not on this machine: download them with '{_download(name)}'"
        ) from error


def _download(name: str) -> str:
    return f"hf download {name}"
