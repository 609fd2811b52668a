"""The HTTP protocol of the web processes: `uvicorn --http portal.ops.http_protocol:HTTPProtocol`."""

from __future__ import annotations

import asyncio
import socket

from uvicorn.protocols.http.h11_impl import H11Protocol


class HTTPProtocol(H11Protocol):
    """uvicorn's, with answers that are sent at once.

    With `--workers` uvicorn leaves Nagle's algorithm on (its issue 3149): the body of an answer waits until the client
    has acknowledged the head, which on a connection that is used again takes 40 ms.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        connection = transport.get_extra_info("socket")
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
