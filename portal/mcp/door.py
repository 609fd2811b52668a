"""The door of the agents, POST /mcp: who they are, before anything of what they send is read.

Every request stands for itself: there is no session, and nothing is kept between two of them.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpResponse
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from portal.api.authentication import count
from portal.api.problems import of_refusal, problem
from portal.auth import throttle
from portal.mcp.server import ACTOR, SERVER, THREADS
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import tokens

PATH = "/mcp"
# Prefect accepts 512 kB of parameters for a run.
LONGEST_BODY = 1024 * 1024
# Requests of one token a minute. A refusal is an audit entry each: an agent in a loop must not fill the trail.
LIMIT = 120

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]


async def serve(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer one request to /mcp."""
    request = ASGIRequest(scope, io.BytesIO())
    refusal = refusal_of(request)
    if refusal is None:
        try:
            loop = asyncio.get_running_loop()
            scope = scope | {ACTOR: await loop.run_in_executor(THREADS, authenticate, request)}
        except Refused as error:
            refusal = of_refusal(request, error)
    if refusal is not None:
        await answer(refusal, send)
        return
    # One for each request: what it starts ends with it, and no event loop outlives its work.
    manager = StreamableHTTPSessionManager(
        SERVER, json_response=True, stateless=True, max_request_body_size=LONGEST_BODY
    )
    async with manager.run():
        await manager.handle_request(scope, receive, unstored(send))


def refusal_of(request: ASGIRequest) -> HttpResponse | None:
    """Return why a request is not even asked for its token: by the same settings as a page."""
    # Before `DisallowedHost` could be logged as an error of ours: it is asked for what it is.
    try:
        host = request.get_host()
    except DisallowedHost:
        return problem(400, "request.malformed", "The portal is not served under this host name.")
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        # Not redirected: the token would be sent in clear text each time.
        return problem(403, "request.malformed", "Use HTTPS.")
    origin = request.headers.get("Origin", "")
    # Of a page of another site, in a browser that was led to this address.
    if origin and origin not in settings.CSRF_TRUSTED_ORIGINS and urlsplit(origin).netloc != host:
        return problem(403, "request.malformed", "The portal is not used from pages of other sites.")
    if request.method != "POST":
        return problem(405, "request.malformed", "Send a POST.", headers={"Allow": "POST"})
    return None


def authenticate(request: ASGIRequest) -> Actor:
    """Return the agent that sends a request, and count it; raises `Refused`. It closes the connection of its thread."""
    address = request.META.get("REMOTE_ADDR", "")
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    try:
        try:
            if kind.lower() != "bearer" or not text:
                raise Refused("token.invalid", "Send a token of an agent: “Authorization: Bearer portal_…”.")
            agent = request.META.get("HTTP_USER_AGENT", "")
            by = tokens.authenticate(text.strip(), address=address, user_agent=agent, for_agents=True)
        except Refused:
            throttle.begin_token(address)
            raise
        count(request, by.token_id, LIMIT)
        return by
    finally:
        connection.close()


async def answer(response: HttpResponse, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in response.items()]
    start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
    await unstored(send)(start)
    await send({"type": "http.response.body", "body": response.content})


def unstored(send: Send) -> Send:
    """Return `send` that says of each answer that nothing on the way may store it."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"cache-control", b"no-store")]
            message = {**message, "headers": headers}
        await send(message)

    return marked
