"""What happened, as a list and as a stream of server-sent events that can be resumed; and posting what happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Field, Query, Router, Schema, Status
from pydantic import create_model

from portal.api import paging
from portal.api.bodies import body
from portal.api.catalog_routes import actor_of, one
from portal.api.event_schemas import EventRow
from portal.api.idempotency import idempotent
from portal.api.problems import PROBLEMS
from portal.live.broadcast import Subscriber, broadcaster
from runs import events, listings, names
from runs.actors import Actor
from runs.automation import posted_events
from runs.errors import Refused
from runs.governance import tokens

router = Router(tags=["Events"])
EventFilters = paging.filters_of(listings.EVENTS)
# The cursor of a stream is the id of the last event.
StreamFilters = create_model(
    "StreamFilters",
    __base__=Schema,
    seconds=(int, Field(3600, ge=1, le=3600, description="Ends after this time; then connect again.")),
    **paging.columns_of(listings.EVENTS, "since"),
)
# Shorter than the idle timeout of common reverse proxies, 60 s.
PING_SECONDS = 15.0
# Upper limit for a stream to outlive its token or grants.
RECHECK_SECONDS = 60.0
# Least time between two readings: a burst of events is one.
PACE_SECONDS = 0.25
AT_ONCE = 200
# Open streams of one token, and of all in one web process.
MAX_STREAMS_PER_TOKEN, MAX_STREAMS = 5, 200
OWNER = "token:"


class NewEvent(Schema):
    model_config = body(environment="prod", name="month.closed", body={"month": "2026-10"})

    environment: str = Field(max_length=40)
    name: str = Field(max_length=100, description="Lower-case letters, digits, dots, dashes and underscores.")
    body: dict[str, Any] = Field({}, description="Up to 16 kB, stored in clear text: no secrets.")
    run: UUID | None = Field(
        None, description="Prefect's id of the run that posts it: rules that led to this run do not react."
    )


class Posted(paging.Row):
    environment: str
    name: str


@router.get("/events", response={200: paging.page_of(EventRow), **PROBLEMS}, summary="List events")
def list_events(request: HttpRequest, query: Query[EventFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List what happened to the runs and requests that you see, oldest first, as long as the portal keeps it."""
    return paging.answer(request, listings.EVENTS, query, EventRow, EventRow.of)


@router.post("/events", response={201: Posted, **PROBLEMS}, summary="Post an event")
@idempotent
def post_event(request: HttpRequest, payload: NewEvent) -> Status[Posted]:
    """Say that something happened, for event rules. It needs the permission “post events” for the environment.

    Send an `Idempotency-Key`: the same event with the same key happens once.
    """
    by = actor_of(request)
    environment = names.environment(payload.environment, by=by)
    runs = listings.RUNS.rows(by, {"environment": environment.slug})
    run = one(runs, "run", prefect_id=payload.run) if payload.run else None
    posted_events.post(environment, payload.name, payload.body, by=by, run=run)
    return Status(201, Posted(environment=environment.slug, name=payload.name))


@router.get(
    "/events/stream",
    response={200: str, **PROBLEMS},
    summary="Follow events",
    openapi_extra={
        "parameters": [
            {
                "in": "header",
                "name": "Last-Event-ID",
                "schema": {"type": "string"},
                "description": "The id of the last event that was received: those after it follow.",
            }
        ],
        "responses": {"200": {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    },
)
async def stream_events(request: HttpRequest, query: Query[StreamFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """Stream events as they happen: `id`, `event` (the kind) and `data` (as in the list, JSON).

    It begins now, or after the event of `Last-Event-ID` or `after`. A comment comes every 15 s. An event `end` says
    why the stream cannot be resumed: the token was revoked, or has expired.
    """
    paging.require_known(request, StreamFilters)
    given = query.model_dump(exclude_none=True)  # type: ignore[attr-defined]  # a schema made at run time
    seconds, start = given.pop("seconds"), given.pop("after", None)
    if text := request.headers.get("Last-Event-ID", ""):
        start = last_event_id(text)
    # Counted before it opens: the browser of one dashboard must not take all of them.
    channel, by = broadcaster(), actor_of(request)
    owners = [each.owner for each in channel.subscribers if each.owner.startswith(OWNER)]
    owner = f"{OWNER}{by.token_id}"
    if owners.count(owner) >= MAX_STREAMS_PER_TOKEN or len(owners) >= MAX_STREAMS:
        raise Refused("events.too_many", "Too many streams are open. Close one, or try again later.", retry_after=30)
    subscriber = channel.subscribe()
    subscriber.owner = owner
    follower = Follower(by, {name: value for name, value in given.items() if value != []}, start)
    return StreamingHttpResponse(  # type: ignore[return-value]  # a response of its own kind for the library
        stream(follower, subscriber, time.monotonic() + seconds),
        content_type="text/event-stream",
        # nginx buffers responses unless told otherwise.
        headers={"X-Accel-Buffering": "no"},
    )


def last_event_id(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise Refused("filters.invalid", "Last-Event-ID is not the id of an event.", filters=["Last-Event-ID"])
    return int(text)


@dataclass
class Follower:
    """Reads the events of one stream, with what its token allows at that time."""

    by: Actor
    chosen: dict[str, Any]
    # Of the last event that was read, or passed over; None until the first reading.
    position: int | None

    def read(self) -> list[EventRow]:
        """Return the next events, up to `AT_ONCE`; raises `Refused` once the token has ended."""
        try:
            self.by = tokens.actor_again(self.by)
            last = events.head()
            if self.position is None:
                self.position = last
                return []
            # Every event up to the head is committed, with its position.
            rows = listings.EVENTS.rows(self.by, self.chosen).filter(position__gt=self.position, position__lte=last)
            found = [EventRow.of(each) for each in rows.order_by("position")[:AT_ONCE]]
            self.position = found[-1].id if len(found) == AT_ONCE else max(last, self.position)
            return found
        finally:
            # A stream lasts for hours and must not hold one of the pool's few connections. Tests run in a transaction,
            # which closing the connection would end.
            if not connection.in_atomic_block:
                connection.close()


async def stream(follower: Follower, subscriber: Subscriber, until: float) -> AsyncIterator[str]:
    """Yield the events of a follower until the time is over, or its token."""
    read: Callable[[], Any] = sync_to_async(follower.read)
    sent_at = read_at = time.monotonic()
    try:
        found = await read()
        yield f"retry: 3000\nid: {follower.position}\n\n"
        while time.monotonic() < until:
            for row in found:
                yield f"id: {row.id}\nevent: {row.kind}\ndata: {row.model_dump_json()}\n\n"
                sent_at = time.monotonic()
            if len(found) < AT_ONCE:
                await asyncio.sleep(PACE_SECONDS)
                changes = await subscriber.take(max(min(sent_at + PING_SECONDS, until) - time.monotonic(), 0.1))
                is_new = changes is not None and (changes.is_anything or changes.of("event"))
            else:
                is_new = True
            found = []
            if is_new or time.monotonic() - read_at > RECHECK_SECONDS:
                found, read_at = await read(), time.monotonic()
            if time.monotonic() - sent_at > PING_SECONDS:
                # With the position: what was passed over is not read again after a new connection.
                yield f": ping\nid: {follower.position}\n\n"
                sent_at = time.monotonic()
    except Refused as refusal:
        yield f"event: end\ndata: {refusal.code}\n\n"
    finally:
        broadcaster().unsubscribe(subscriber)
