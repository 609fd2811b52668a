"""What the web process answers beside pages."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
import websockets.exceptions
import websockets.sync.client

from portal.asgi import application


@pytest.fixture
def port() -> Iterator[int]:
    """A port on which uvicorn serves the portal, without a database."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application, log_config=None))
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
