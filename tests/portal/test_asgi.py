"""What the web process answers beside pages."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
import websockets.exceptions
import websockets.sync.client

from portal.asgi import application
from portal.ops.http_protocol import HTTPProtocol


@pytest.fixture
def server() -> uvicorn.Server:
    return uvicorn.Server(uvicorn.Config(application, port=0, log_config=None, http=HTTPProtocol))


@pytest.fixture
def port(server: uvicorn.Server) -> Iterator[int]:
    """A port on which uvicorn serves the portal as each of several processes does, without a database."""
    with server.config.bind_socket() as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.05)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("path", ["/", "/admin/", "/live/", "/nowhere"])
def test_a_websocket_is_refused_without_a_traceback(port: int, path: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        websockets.sync.client.connect(f"ws://127.0.0.1:{port}{path}", proxy=None)
    assert refused.value.response.status_code == 403
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]


def test_no_answer_waits_until_its_head_is_acknowledged(server: uvicorn.Server, port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        client.get("/health/live")
        (connection,) = server.server_state.connections
        accepted: Any = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
