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


class RunError(World2ActError):
    """A run folder does not fit what was asked of it."""
