"""Where a key comes from, where it may go, and how it is kept out of everything that is written.

A key is read from the environment for each request: no object holds it, so none can print or store it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

from world2act_core.errors import World2ActError


def read_key(base_url: str, variable: str) -> str:
    """The key for an endpoint; "" where none is needed.

    Args:
        base_url: of the endpoint.
        variable: the environment variable that holds the key; "" asks for none.

    Raises:
        World2ActError: no usable address, no key, or a key that would travel unencrypted to another machine.
    """
    scheme, local = _address(base_url)
    key = os.environ.get(variable, "").strip() if variable else ""
    if scheme == "http" and key and not local:
        raise World2ActError(f"{base_url} would be sent the key in {variable} unencrypted: use https, or no key")
    if scheme == "https" and variable and not key:
        raise World2ActError(f"{base_url} needs a key: put it into the environment variable {variable}")
    if not re.fullmatch(r"[!#-\[\]-~]*", key):  # http.client would name the key when it refuses the header
        raise World2ActError(f"{variable} does not hold a key, which is one word in ASCII: correct it")
    return key


def _address(base_url: str) -> tuple[str, bool]:
    """Scheme of an address, and whether it is this machine."""
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.query or parts.fragment:
        raise World2ActError(
            "the base URL of the endpoint must look like https://host/v1, without user name, password or query"
        )
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return parts.scheme, local
