"""Errors a user can act on. Each says what was wrong, where, and what to do, in one sentence."""

from __future__ import annotations


class World2ActError(Exception):
    """Base of every error that the command line prints without a traceback."""


class ContractError(World2ActError):
    """An embodiment file, or data that claims to follow it, contradicts the contract."""


class DamagedBagError(World2ActError):
    """A bag is truncated, foreign or inconsistent; what was readable before the damage is kept."""


class MissingExtraError(World2ActError):
    """An optional part is not installed; the message names the extra that brings it."""


class PolicyServerError(World2ActError):
    """A policy server is absent, slow, refuses us or answers nonsense; the next request tries anew."""


class SimulatorLost(World2ActError):
    """A simulator in a process of its own crashed, hung or answered nonsense: the episode under way is void.

    Neither a success nor a failure of whoever acted. The next reset begins with a new process.
    """


class RunError(World2ActError):
    """A run folder does not fit what was asked of it."""


def without_key(text: str, key: str) -> str:
    """Foreign text, which might repeat the key that it was sent, without it.

    Placeholders that local servers are sent (``EMPTY``, ``ollama``) are words and no secrets: they stay.
    """
    return text.replace(key, "[key]") if len(key) >= 12 else text


def printable(text: str) -> str:
    """Foreign text for the inside of a message: short, on one line, nothing that a terminal acts on."""
    visible = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(visible.split())[:200]
