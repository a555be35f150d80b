"""The server's process: answers requests on one socket until its client is gone.

It is started by ``process.ServerProcess``, which hands it the socket and the shared memory as open file descriptors:
``python -m world2act_core.simulators.remote.server SOCKET MEMORY``.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import traceback

from world2act_core.errors import World2ActError
from world2act_core.simulators.remote.messages import BadMessage, error_message, receive, send
from world2act_core.simulators.remote.session import Session
from world2act_core.simulators.remote.shared import SharedArrays


def serve(connection: socket.socket, memory: SharedArrays) -> None:
    """Answer requests, one after the other, until the other side hangs up or sends what is no message."""
    session = Session()
    try:
        while True:
            try:
                request = receive(connection)
            except BadMessage as error:
                send(connection, error_message(World2ActError(f"no message of this protocol: {error}")))
                return
            try:
                answer = session.answer(request)
                message = {**answer.values, "arrays": memory.write(answer.arrays)}
            except World2ActError as error:
                message = error_message(error)
            except Exception as error:  # noqa: BLE001 - said to the client, and here where it was
                traceback.print_exc()
                message = error_message(error)
            send(connection, message)
    except (EOFError, ConnectionError):
        return
    finally:
        session.close()


def end_with_client(connection: socket.socket) -> None:
    """From now on this process ends when the other side of the socket is gone, also in the middle of a long call."""
    watched = select.poll()
    watched.register(connection.fileno(), select.POLLRDHUP)

    def wait_for_it() -> None:
        watched.poll()
        os._exit(0)

    threading.Thread(target=wait_for_it, daemon=True).start()


def main(socket_descriptor: int, memory_descriptor: int) -> None:
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what simulators print is nobody's output
    connection = socket.socket(fileno=socket_descriptor)
    end_with_client(connection)
    with contextlib.suppress(KeyboardInterrupt):
        serve(connection, SharedArrays(memory_descriptor))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
