"""Which policy an address stands for today: the hashes of the files behind it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from world2act_core.policies.run_folder import policy_files
from world2act_core.runs.stage import MANIFEST, file_digest

_MANIFESTS = (MANIFEST, "metadata.yaml", "meta/info.json")


def policy_digest(address: str) -> str:
    """The same as one SHA-256: of the only file, or of the hashes of several; "" for a policy that somebody serves."""
    found = policy_identity(address)
    if len(found) <= 1:
        return "".join(found.values())
    return hashlib.sha256(json.dumps(sorted(found.values())).encode()).hexdigest()


def policy_identity(address: str) -> dict[str, str]:
    """SHA-256 of every file that an address names, by how it names it; empty for a policy that somebody serves.

    A run folder stands for the files that its policies are made of, another folder for its manifest, which lists hashes
    (an export's, a bag's, a data set's).
    """
    _, _, reference = address.partition(":")
    found: dict[str, str] = {}
    for part in reference.split(","):
        named = part if Path(part).exists() else part.partition("#")[0]
        path = Path(named)
        if path.is_file():
            found[named] = file_digest(path)
        elif named and path.is_dir():
            files = {name: file for name, file in policy_files(path).items() if file.is_file()}
            listed = {name: path / name for name in _MANIFESTS if (path / name).is_file()}
            found |= {name: file_digest(file) for name, file in (files or listed).items()}
    return found
