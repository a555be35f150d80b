"""Which policy an address stands for today: the hashes of the files behind it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from world2act_core.policies.run_folder import policy_files
from world2act_core.runs.stage import MANIFEST, file_digest

_MANIFESTS = (MANIFEST, "metadata.yaml", "meta/info.json")
_OF_A_CHECKPOINT = ("*.json", "*.safetensors", "*.pt")


def shortened(identity: str) -> str:
    """Of a hash its beginning, for messages; a name that somebody gave stands as it is."""
    return identity[:12] if re.fullmatch("[0-9a-f]{64}", identity) else identity


def policy_digest(address: str) -> str:
    """The same as one SHA-256: of the only file, or of the hashes of several; "" for a policy that somebody serves."""
    found = policy_identity(address)
    if len(found) <= 1:
        return "".join(found.values())
    return hashlib.sha256(json.dumps(sorted(found.values())).encode()).hexdigest()


def policy_identity(address: str) -> dict[str, str]:
    """SHA-256 of every file that an address names, by how it names it; empty for a policy that somebody serves.

    A run folder stands for the files that its policies are made of, another folder for its manifest, which lists hashes
    (an export's, a bag's, a data set's), or else, as a checkpoint, for its weights and their settings.
    """
    _, _, reference = address.partition(":")
    found: dict[str, str] = {}
    for part in reference.split(","):
        named = part if Path(part).exists() else re.split("[#?]", part, maxsplit=1)[0]
        path = Path(named)
        if path.is_file():
            found[named] = file_digest(path)
        elif named and path.is_dir():
            files = {name: file for name, file in policy_files(path).items() if file.is_file()}
            listed = {name: path / name for name in _MANIFESTS if (path / name).is_file()}
            weights = {file.name: file for pattern in _OF_A_CHECKPOINT for file in path.glob(pattern)}
            found |= {name: file_digest(file) for name, file in (files or listed or weights).items()}
    return found
