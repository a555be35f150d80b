"""Addresses of policy servers: ``//host:port?option=value``, and the secrets that they name but never hold."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from world2act_core.errors import World2ActError

TIMEOUT_MS = 5000
CONNECT_TIMEOUT_MS = 30000
COMMON = ("token_env", "timeout_ms", "connect_timeout_ms", "mapping", "identity")


@dataclass(frozen=True)
class ServerAddress:
    """Where a policy server is and how it is spoken to.

    Attributes:
        timeout_s: longest wait for an answer.
        connect_timeout_s: longest wait for the connection, and for the first answer, before which models warm up.
        token_env: environment variable that holds the token; "" sends none.
        mapping: file that maps the protocol's keys; "" takes the one that comes with World2Act.
        identity: which policy it serves, in the words of whoever started it; "" leaves it to the server.
        options: what else was given, of the options that the protocol knows.
    """

    scheme: str
    host: str
    port: int
    timeout_s: float
    connect_timeout_s: float
    token_env: str
    mapping: str
    identity: str
    options: dict[str, str]

    def __str__(self) -> str:
        """Fit for messages: without options."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def token(self) -> str:
        """The secret, read when it is needed, so that no object holds it; "" where none is asked for.

        Raises:
            World2ActError: the variable is empty or holds no token.
        """
        return read_token(self.token_env) if self.token_env else ""


def read_token(variable: str) -> str:
    """The token in an environment variable.

    Raises:
        World2ActError: it is empty, or not one word in ASCII; the message does not repeat it.
    """
    token = os.environ.get(variable, "").strip()
    if not token:
        raise World2ActError(f"the environment variable {variable} is empty: put the policy server's token into it")
    if not re.fullmatch(r"[!#-\[\]-~]+", token):
        raise World2ActError(f"{variable} does not hold a token, which is one word in ASCII: correct it")
    return token


def parse_address(scheme: str, reference: str, port: int, known: Sequence[str] = ()) -> ServerAddress:
    """``//host:port?options`` → address.

    Args:
        port: taken where the reference names none.
        known: options of the protocol besides those that all have.

    Raises:
        World2ActError: it cannot be read; says what an address looks like.
    """
    expected = f"expected {scheme}://HOST:{port}, perhaps with ?{'&'.join(f'{name}=...' for name in (*COMMON, *known))}"
    try:
        parts = urlsplit(f"{scheme}:{reference}")
        host, given = parts.hostname, parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        host, given, options = None, None, {}
        parts = None
    if parts is None or not host or "@" in parts.netloc or parts.path.strip("/") or parts.fragment:
        # The address itself is not repeated: somebody may have put a password into it.
        raise World2ActError(f"this {scheme} address cannot be read: {expected}")
    for name in options:
        if name not in (*COMMON, *known):
            raise World2ActError(f"{scheme} addresses have no option {name!r}: {expected}")
    return ServerAddress(
        scheme=scheme,
        host=host,
        port=given or port,
        timeout_s=_seconds(options, "timeout_ms", TIMEOUT_MS),
        connect_timeout_s=_seconds(options, "connect_timeout_ms", CONNECT_TIMEOUT_MS),
        token_env=options.get("token_env", ""),
        mapping=options.get("mapping", ""),
        identity=options.get("identity", ""),
        options={name: value for name, value in options.items() if name in known},
    )


def choice(address: ServerAddress, name: str, values: Sequence[str]) -> str:
    """An option that is one of some values, the first by default.

    Raises:
        World2ActError: it is another one.
    """
    value = address.options.get(name, values[0])
    if value not in values:
        raise World2ActError(f"{address}: {name}={value!r} must be one of {', '.join(values)}")
    return value


def _seconds(options: dict[str, str], name: str, default: int) -> float:
    text = options.get(name, str(default))
    if not text.isdigit() or not 0 < int(text) <= 600_000:
        raise World2ActError(f"{name}={text!r} must be a number of milliseconds between 1 and 600000")
    return int(text) / 1000
