"""Which server speaks which protocol, and its orderly end."""

from __future__ import annotations

import signal
import threading

from world2act_core.policies.address import import_part
from world2act_core.policies.serving import ServedPolicy, Server

# Protocol → module of its server and of its port. Imported when asked for: each needs packages of its own.
PROTOCOLS = {
    "gr00t": ("world2act_core.policies.gr00t", "Gr00tServer"),
    "openpi": ("world2act_core.policies.openpi", "OpenpiServer"),
    "cosmos": ("world2act_core.policies.cosmos", "CosmosServer"),
}


def new_server(protocol: str, served: ServedPolicy, host: str, port: int | None, token: str = "") -> Server:
    """A server that has bound its address; ``port`` None takes the protocol's own.

    Raises:
        MissingExtraError: what the protocol needs is not installed.
        World2ActError: the address cannot be bound, or the policy does not fit the protocol.
    """
    package, name = PROTOCOLS[protocol]
    wire = import_part(f"{package}.wire")
    made: Server = getattr(import_part(f"{package}.server"), name)(
        served, host, wire.PORT if port is None else port, token
    )
    return made


def serve_until_stopped(server: Server) -> None:
    """Serve until SIGINT, SIGTERM, or whatever else ends the server. Call from the main thread."""

    ending: list[threading.Thread] = []

    def end(*_: object) -> None:
        # Some servers' stop waits until serve has returned, which it cannot within the handler.
        ending.append(threading.Thread(target=server.stop, daemon=True))
        ending[-1].start()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.serve()
        for thread in ending:
            thread.join()  # connections are still being closed, which an interpreter that ends could not do any more
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
