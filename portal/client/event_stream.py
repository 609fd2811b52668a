"""Following events over a connection that is opened again, from the last event on, whenever it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from .answers import Event
from .client_errors import PortalFailed, Problem, TokenRejected, TooManyRequests, Unreachable
from .decoding import decode
from .web_session import EXPIRED, WebSession

PATH = "/events/stream"
# Seconds before a new connection; doubled after each one that brought nothing.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
PASSING = (Unreachable, PortalFailed, TooManyRequests)


def follow(session: WebSession, filters: Mapping[str, Any], after: int | None) -> Iterator[Event]:
    """Return events as they happen, each once; raises `PortalError` when the portal ends it for good."""
    last, pause = after, FIRST_PAUSE
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(last)} if last is not None else {})
        wait = None
        try:
            with session.stream(PATH, params=filters, headers=headers) as lines:
                for fields in messages(lines):
                    last, pause = int(fields.get("id", last or 0)), FIRST_PAUSE
                    if fields.get("event") == "end":
                        code = fields.get("data", "")
                        if code == EXPIRED and session.renew():
                            break
                        raise ended(code)
                    if "data" in fields:
                        yield decode(Event, json.loads(fields["data"]))
        except PASSING as error:
            wait = error.retry_after if isinstance(error, Problem) else None
        time.sleep(wait or pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def messages(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Return the fields of each server-sent event; one of them a line, as the portal writes them."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        elif not line and fields:
            yield fields
            fields = {}


def ended(code: str) -> Problem:
    return TokenRejected(401, code, "The portal ended the stream: the token was revoked, or has expired.")
