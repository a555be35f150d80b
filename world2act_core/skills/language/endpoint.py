"""Instructions split by a language model behind an OpenAI-compatible ``/chat/completions`` endpoint.

The default is the successor of the reasoner that the paper used: DeepSeek's ``deepseek-flash``, which thinks before it
answers unless told otherwise (https://api-docs.deepseek.com/guides/thinking_mode; the names ``deepseek-reasoner`` and
``deepseek-chat`` ceased on 2026-07-24, https://api-docs.deepseek.com/updates). Its reasoning comes in
``reasoning_content``, apart from the answer, and is not kept.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from world2act_core import __version__
from world2act_core.errors import World2ActError, printable, without_key
from world2act_core.skills.language.cache import Reply
from world2act_core.skills.language.credentials import read_key
from world2act_core.skills.language.decomposer import LanguageDecomposer, Messages
from world2act_core.skills.language.transport import MAX_RESPONSE, NoResponse, Response, post
from world2act_core.skills.types import EventKind, Usage

DEEPSEEK = "https://api.deepseek.com"
DEEPSEEK_MODEL = "deepseek-flash"
KEY_VARIABLE = "WORLD2ACT_LLM_API_KEY"
DEFAULT_PARAMETERS: Mapping[str, Any] = {
    "temperature": 0,  # ignored by models that think
    "max_tokens": 8192,  # reasoning included: what a single question may cost at most
    "response_format": {"type": "json_object"},
}

_log = logging.getLogger(__name__)

# What a status means and what mends it; other statuses from 500 on, and these, are tried again.
_PASSING = (408, 425, 429)
_ADVICE = {
    400: "does not accept the request: check the model's name and the parameters",
    401: "refuses {sender}: put a valid one into the environment",
    402: "says that the account has no credit left: top it up",
    403: "does not allow {sender} to use {model}: use another key or model",
    404: "knows no such address or model: check the base URL and the name {model}",
    422: "does not accept the parameters: check them",
}


@dataclass(frozen=True)
class Prices:
    """What tokens cost, in any currency, per million. Endpoints publish them; nothing is assumed here.

    Attributes:
        prompt: tokens that were sent.
        completion: tokens that were answered, reasoning included.
        cached_prompt: tokens that were sent and that the endpoint had in its own cache; None if they cost the same.
    """

    prompt: float
    completion: float
    cached_prompt: float | None = None


@dataclass(frozen=True)
class Patience:
    """How long an endpoint is waited for, seconds.

    Attributes:
        connect_s: until the connection stands.
        read_s: silence while the model thinks.
        total_s: for one question with all its retries.
        attempts: how often a question is sent at most.
        first_wait_s, longest_wait_s: between attempts; it doubles from one to the other, minus up to half by chance so
            that many clients do not come back at the same instant. The endpoint's ``Retry-After`` can only lengthen it.
    """

    connect_s: float = 10.0
    read_s: float = 120.0
    total_s: float = 600.0
    attempts: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0

    def wait(self, attempt: int) -> float:
        """Seconds to wait after attempt number ``attempt``, counted from 1."""
        return min(self.longest_wait_s, self.first_wait_s * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)


class _Passing(Exception):
    """A fault that may be gone at the next attempt."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class EndpointDecomposer(LanguageDecomposer):
    """Asks an endpoint.

    Args:
        model: as the endpoint names it.
        base_url: without ``/chat/completions``. ``http`` only for this machine, or without a key.
        key_variable: the environment variable that holds the key; "" sends none.
        parameters: of the request besides model and messages; replaces the defaults as a whole.
        prices: None leaves the cost at 0, which then means that it is not known.
        patience: timeouts and retries.
        cache: folder of the answers; None keeps them in the user's cache folder.

    Raises:
        World2ActError: the address cannot be used, the variable is empty or holds no key.
    """

    def __init__(
        self,
        model: str = DEEPSEEK_MODEL,
        *,
        base_url: str = DEEPSEEK,
        key_variable: str = KEY_VARIABLE,
        parameters: Mapping[str, Any] = DEFAULT_PARAMETERS,
        prices: Prices | None = None,
        patience: Patience = Patience(),
        cache: Path | None = None,
    ) -> None:
        super().__init__(f"endpoint {model}", cache)
        self.model, self.base_url, self.key_variable = model, base_url.rstrip("/"), key_variable
        self.parameters, self.prices, self.patience = dict(parameters), prices, patience
        read_key(self.base_url, key_variable)  # what cannot work is reported before any episode was read

    def _identity(self) -> dict[str, Any]:
        return {"model": self.model, "parameters": self.parameters}

    def _ask(self, chat: Messages, events: Sequence[EventKind]) -> Reply:
        body = json.dumps({"model": self.model, "messages": chat, "stream": False, **self.parameters}).encode()
        deadline = time.monotonic() + self.patience.total_s
        spent, attempt = Usage(), 0
        while True:
            attempt += 1
            try:
                reply = self._attempt(body, deadline)
                spent = spent + reply.usage
                # DeepSeek: a blank answer in JSON mode stands for one that was no JSON; asking again is its advice.
                if reply.text.strip() or reply.cut_off or attempt == self.patience.attempts:
                    return replace(reply, usage=spent)
                fault = _Passing("the answer was blank")
            except _Passing as passing:
                fault = passing
            self._wait(fault, attempt, deadline)

    def _attempt(self, body: bytes, deadline: float) -> Reply:
        key = read_key(self.base_url, self.key_variable)
        # Some endpoints turn Python's own user agent away.
        headers = {"Content-Type": "application/json", "User-Agent": f"world2act/{__version__}"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        read_s = max(0.1, min(self.patience.read_s, deadline - time.monotonic()))
        url = f"{self.base_url}/chat/completions"
        try:
            response = post(url, body, headers, connect_s=self.patience.connect_s, read_s=read_s, deadline=deadline)
        except NoResponse as error:
            raise _Passing(str(error)) from error
        self._check_status(response, key)
        if not response.complete:
            raise World2ActError(
                f"{self.base_url} sent more than {MAX_RESPONSE} bytes: check that it is a chat completions endpoint"
            )
        return self._reply(response.body, key)

    def _wait(self, fault: _Passing, attempt: int, deadline: float) -> None:
        wait = max(self.patience.wait(attempt), fault.retry_after_s)
        if attempt >= self.patience.attempts or time.monotonic() + wait > deadline:
            raise World2ActError(
                f"{self.base_url} gave no answer in {attempt} attempts, at last because {fault}: "
                "try again later, what was answered before is kept"
            ) from fault
        _log.warning("%s: %s; attempt %d follows in %.1f s", self.base_url, fault, attempt + 1, wait)
        time.sleep(wait)

    def _check_status(self, response: Response, key: str) -> None:
        status = response.status
        if status == 200:
            return
        said = _said(response.body, key)
        if status in _PASSING or status >= 500:
            raise _Passing(f"it answered {status}{said}", _retry_after(response.headers))
        if 300 <= status < 400:
            target = printable(without_key(response.headers.get("Location", "elsewhere"), key))
            raise World2ActError(
                f"{self.base_url} redirects to {target}, where neither key nor instruction is sent: "
                "give the final address as base URL"
            )
        sender = f"the key in {self.key_variable}" if key else "a request without a key"
        advice = _ADVICE.get(status, "does not accept the request").format(sender=sender, model=self.model)
        raise World2ActError(f"{self.base_url} {advice} (it answered {status}{said})")

    def _reply(self, body: bytes, key: str) -> Reply:
        try:
            content = json.loads(body)
            choice = content["choices"][0]
            text = choice["message"].get("content") or ""
            usage = self._usage(content.get("usage") or {})
            if not isinstance(text, str):
                raise TypeError("content is not text")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise _Passing("what it sent is not a chat completion") from error
        return Reply(without_key(text, key), choice.get("finish_reason") == "length", usage)

    def _usage(self, reported: Mapping[str, Any]) -> Usage:
        prompt, completion = _count(reported, "prompt_tokens"), _count(reported, "completion_tokens")
        # DeepSeek's name for tokens from its cache, then OpenAI's; both are part of prompt_tokens.
        details = reported.get("prompt_tokens_details") or {}
        cached = _count(reported, "prompt_cache_hit_tokens") or _count(details, "cached_tokens")
        cost = 0.0
        if self.prices is not None:
            dear, cheap = self.prices.prompt, self.prices.cached_prompt
            cached = 0 if cheap is None else cached
            cost = ((prompt - cached) * dear + cached * (cheap or 0.0) + completion * self.prices.completion) / 1e6
        return Usage(1, prompt, completion, cost)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the endpoint asks to wait (RFC 9110: a number of seconds or a date); 0 if it does not say."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _said(body: bytes, key: str) -> str:
    """What the endpoint says about a fault, for the end of a sentence."""
    text = body[:10_000].decode("utf-8", "replace")
    with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
        text = str(json.loads(text)["error"]["message"])
    text = printable(without_key(text, key))
    return f": {text}" if text else ""


def _count(reported: Any, name: str) -> int:
    value = reported.get(name) if isinstance(reported, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
