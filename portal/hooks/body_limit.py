"""Stops reading a request to a hook once its body is larger than any hook accepts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from runs.automation import LARGEST_BODY

PREFIX = "/hooks/"
# In the scope of a request whose body was not read to its end.
MARK = "portal.too_large"

type Receive = Callable[[], Awaitable[Mapping[str, Any]]]


def declared(length: str) -> int:
    """Return the number of a Content-Length; 0 if it is none."""
    # Python refuses to read numbers with thousands of digits.
    return int(length[:20]) if length.isascii() and length.isdigit() else 0


def limited(scope: dict[str, Any], receive: Receive) -> Receive:
    """Return `receive`, which for a hook ends a body that is too large. Django alone would store all of it first."""
    if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
        return receive
    announced = declared(dict(scope["headers"]).get(b"content-length", b"").decode("latin-1"))
    received, is_over = 0, False

    async def read() -> Mapping[str, Any]:
        nonlocal received, is_over
        # 1. Nothing is awaited of a body that is announced as too large. After the end there is only one message: that
        #    the client has gone.
        is_announced = announced > LARGEST_BODY and not is_over
        message = {"type": "http.request"} if is_announced else await receive()
        while is_over and message["type"] == "http.request":
            message = await receive()
        if message["type"] != "http.request":
            return message
        # 2. The next part of the body, or its end.
        received += len(message.get("body", b""))
        if max(announced, received) > LARGEST_BODY:
            is_over = scope[MARK] = True
            return {"type": "http.request", "body": b"", "more_body": False}
        is_over = not message.get("more_body", False)
        return message

    return read
