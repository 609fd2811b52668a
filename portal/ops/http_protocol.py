"""The HTTP protocol of the web processes: `uvicorn --http portal.ops.http_protocol:HTTPProtocol`."""

from __future__ import annotations

import asyncio
import socket

from uvicorn.protocols.http.h11_impl import H11Protocol


class HTTPProtocol(H11Protocol):
    """uvicorn's protocol with TCP_NODELAY, which uvicorn does not set with `--workers` (its issue 3149).

    Without it the body of a response on a kept-alive connection waits until the client acknowledges the headers: 40 ms.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        connection = transport.get_extra_info("socket")
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
