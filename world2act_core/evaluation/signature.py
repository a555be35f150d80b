"""The signature of a gate: what sim tests and the launch of a real arm demand before a post-trained policy may act.

``gate.json`` holds a SHA-256 of its own content, which shows that it is whole. Where the environment variable
``WORLD2ACT_GATE_KEY`` is set it also holds an HMAC-SHA256 (RFC 2104) under that key, which only those who have the key
can make: that is what a robot should demand. Both are taken over the canonical JSON: sorted keys, no spaces, ASCII.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from world2act_core.errors import RunError
from world2act_core.evaluation.gate import Gate, gate_from_json, gate_to_json
from world2act_core.evaluation.wording import gate_in_words
from world2act_core.policies.run_folder import policy_files

GATE = "gate.json"
SCHEMA = "world2act.gate/1"
KEY_VARIABLE = "WORLD2ACT_GATE_KEY"

MOST_MARGIN, MOST_ALPHA = 0.10, 0.05
"""What may be lost, and the chance of a wrong pass, for a policy that is to act: who asks for less than that has shown
nothing (our choice; 0.10 is 10 points of success rate)."""


def write_gate(run_folder: Path, gate: Gate) -> str:
    """Write and sign ``gate.json``, whole or not at all; returns how it is signed, in words."""
    from world2act_core.runs.stage import write_json  # brings torch

    content = {"schema": SCHEMA, **gate_to_json(gate)}
    key, canonical = _key(), _canonical(content)
    signature = {"sha256": hashlib.sha256(canonical).hexdigest()}
    if key:
        signature["hmac_sha256"] = hmac.new(key, canonical, hashlib.sha256).hexdigest()
    write_json(run_folder / GATE, {**content, "signature": signature})
    if key:
        return f"signed with the key in {KEY_VARIABLE} (HMAC-SHA256)"
    return f"not signed with a key, only sealed (SHA-256): set {KEY_VARIABLE} for a signature that nobody else can make"


def read_gate(run_folder: Path) -> Gate:
    """The gate of a run, its signature checked.

    Raises:
        RunError: there is none, it is incomplete, it was edited, or it was signed with another key or without one.
    """
    path, again = run_folder / GATE, f"run 'world2act gate {run_folder}'"
    try:
        raw = json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(
            f"{run_folder} has no {GATE}, so nothing shows what its policy is worth: {again}; a run made from logs "
            f"cannot have one, see docs/robot-cell.md, step 5"
        ) from None
    except ValueError as error:
        raise RunError(f"{path} is not JSON ({error}): {again} again") from None
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != SCHEMA:
        raise RunError(f"{path} has schema {found!r}, expected {SCHEMA!r}: {again} with this version")
    _check_signature(raw, path, again)
    try:
        return gate_from_json(raw)
    except (KeyError, TypeError, ValueError, RunError) as error:
        raise RunError(f"{path} is incomplete or contradicts itself ({error}): {again} again") from None


def require_gate(
    run_folder: Path,
    *,
    embodiment: str = "",
    max_age_days: float | None = None,
    made_of: Mapping[str, str] | None = None,
) -> Gate:
    """The gate of a run if it vouches for the run's post-trained policy as its files are now.

    Args:
        run_folder: the run, or an export of it.
        made_of: of an export: digests of the files that it was made of, by name.
        embodiment: name of the contract that the policy is to act for; "" does not ask.
        max_age_days: how old the gate may be; None does not ask.

    Raises:
        RunError: it does not, or see ``read_gate``; one sentence that says why.
    """
    from world2act_core.runs.stage import file_digest

    gate, again = read_gate(run_folder), f"run 'world2act gate {run_folder}' again"
    if not gate.passed:
        raise RunError(f"the gate of {run_folder} was not passed, so its policy must not act: {gate_in_words(gate)}")
    if gate.margin > MOST_MARGIN or gate.alpha > MOST_ALPHA:
        raise RunError(
            f"the gate of {run_folder} asked for too little, a margin of {100 * gate.margin:g} points at alpha "
            f"{gate.alpha:g}: for a policy to act it must be at most {100 * MOST_MARGIN:g} at {MOST_ALPHA:g}: {again}"
        )
    if not any(gate.used_starts.values()):
        raise RunError(
            f"the gate of {run_folder} knew of no start that its policy was trained on, so none of its own was "
            f"shown to be fresh: a run made from logs has no gate (docs/gate.md)"
        )
    if embodiment and embodiment != gate.embodiment:
        raise RunError(
            f"the gate of {run_folder} was passed on {gate.embodiment}, not on {embodiment}: gate a run of that robot"
        )
    for name, digest in (made_of or {}).items():
        if digest != gate.digests.get(name):
            raise RunError(f"the gate in {run_folder} was passed with another {name} policy than was exported: {again}")
    files = policy_files(run_folder) if made_of is None else {}
    for name, file in files.items():
        if not file.is_file():
            raise RunError(f"the gate of {run_folder} vouches for {file}, which does not exist: finish the run")
        if file_digest(file) != gate.digests.get(name):
            raise RunError(f"the gate of {run_folder} was passed with another {name} policy than {file}: {again}")
    age = datetime.now(timezone.utc) - gate.finished
    days = age.total_seconds() / 86400
    if max_age_days is not None and days > max_age_days:
        raise RunError(f"the gate of {run_folder} is {days:.1f} days old, more than {max_age_days:g}: {again}")
    return gate


def _check_signature(raw: dict[str, Any], path: Path, again: str) -> None:
    signature = raw.pop("signature", None)
    signature = signature if isinstance(signature, dict) else {}
    key, canonical = _key(), _canonical(raw)
    if signature.get("sha256") != hashlib.sha256(canonical).hexdigest():
        raise RunError(f"{path} was edited after it was signed: {again} again")
    keyed = signature.get("hmac_sha256")
    if keyed is None and key:
        raise RunError(f"{path} was signed without a key, but {KEY_VARIABLE} is set: {again} again with the key")
    if keyed is not None and not key:
        raise RunError(f"{path} was signed with a key: set {KEY_VARIABLE} to check it")
    if key and not hmac.compare_digest(str(keyed), hmac.new(key, canonical, hashlib.sha256).hexdigest()):
        raise RunError(f"{path} was signed with another key than {KEY_VARIABLE} holds: {again} again with this one")


def _key() -> bytes:
    return os.environ.get(KEY_VARIABLE, "").encode()


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
