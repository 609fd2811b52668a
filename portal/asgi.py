"""The web process: `uvicorn portal.asgi:application`."""

import gc
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("PORTAL_PROCESS", "web")

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.core.asgi import get_asgi_application
from django.urls import get_resolver

from portal.hooks.body_limit import limited

Message = MutableMapping[str, Any]

pages = get_asgi_application()

from portal.mcp import door  # noqa: E402  (it imports models, for which Django must be set up)

# What is loaded once stays, and need not be looked at again: a full collection stopped all requests for 0.3 seconds,
# once in a hundred pages. The addresses are loaded first; with them come the pages.
_ = get_resolver().url_patterns
gc.collect()
gc.freeze()


async def application(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Message]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Serve the pages and the tools of agents; refuse websockets, of which there are none (the server answers 403)."""
    # Django raises an error for them, and anyone could fill the log with its traceback.
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})
    elif scope["type"] == "http" and scope["path"] == door.PATH:
        await door.serve(scope, receive, send)
    else:
        await pages(scope, limited(scope, receive), send)
