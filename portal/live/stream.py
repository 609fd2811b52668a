"""Tells an open page that something it shows changed; only ids leave, the page reads the rest with its own rights."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.views.decorators.http import require_GET

from portal.live.broadcast import Broadcaster, Changes, Subscriber, broadcaster
from runs.access.decisions import Permissions
from runs.models import Run, RunRequest, Verb

PING_SECONDS = 15.0
# A session that ended or a grant that was revoked ends the stream at the latest after this.
RECHECK_SECONDS = 60.0
# News of a busy run come in one go; a list, which changes with every run there is, waits longer.
PACE_SECONDS = 0.5
PACE_OF_LISTS_SECONDS = 2.0
MOST_ROWS = 50
MOST_CLIENTS = 500

SUBJECTS: dict[str, type[Model]] = {"run": Run, "request": RunRequest}
LISTS = {"runs": "run", "requests": "request"}


@dataclass(frozen=True, slots=True)
class Topics:
    """What a page wants to hear of: single rows, by subject, and whole lists."""

    rows: dict[str, frozenset[int]]
    lists: frozenset[str]

    @classmethod
    def of(cls, query: QueryDict) -> Topics:
        """Raises `Http404` for what there is not."""
        try:
            rows = {name: frozenset(map(int, query.getlist(name))) for name in SUBJECTS if name in query}
        except ValueError as error:
            raise Http404 from error
        lists = frozenset(query.getlist("list"))
        is_possible = bool(rows or lists) and lists <= LISTS.keys() and not query.keys() - SUBJECTS.keys() - {"list"}
        if not is_possible or sum(map(len, rows.values())) > MOST_ROWS:
            raise Http404
        return cls(rows, lists)

    def concerns(self, news: Changes) -> bool:
        return (
            news.is_anything
            or any(pks & news.of(subject) for subject, pks in self.rows.items())
            or any(news.of(LISTS[name]) for name in self.lists)
        )


@require_GET
async def stream(request: HttpRequest) -> HttpResponseBase:
    """`?run=12`, `?request=7`, `?list=runs`, and any number of them: an endless stream of server-sent events."""
    room = broadcaster()
    if len(room.mailboxes) >= MOST_CLIENTS:
        return HttpResponse(status=503)  # the page asks by itself every few seconds then
    session = request.session
    # Opened before the first look, so that nothing falls between the look and the first wait.
    mailbox = room.subscribe()
    try:
        topics = Topics.of(request.GET)
        await visible_changes(session, topics, Changes())
    except (Http404, PermissionDenied) as refusal:
        room.unsubscribe(mailbox)
        return HttpResponse(status=404 if isinstance(refusal, Http404) else 403)
    except BaseException:
        room.unsubscribe(mailbox)
        raise
    return StreamingHttpResponse(
        events(room, mailbox, session, topics),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"},
    )


async def events(room: Broadcaster, mailbox: Subscriber, session: SessionBase, topics: Topics) -> AsyncIterator[str]:
    sent = looked = time.monotonic()
    try:
        yield "retry: 3000\n" + event("ready", {})
        while True:
            news = await mailbox.take(max(PING_SECONDS - (time.monotonic() - sent), 0.1)) or Changes()
            if topics.concerns(news) or time.monotonic() - looked > RECHECK_SECONDS:
                heard = await visible_changes(session, topics, news)
                looked = time.monotonic()
                if heard:
                    yield event("nudge", heard)
                    sent = time.monotonic()
                    await asyncio.sleep(PACE_OF_LISTS_SECONDS if topics.lists else PACE_SECONDS)
            if time.monotonic() - sent > PING_SECONDS:
                yield ": ping\n\n"
                sent = time.monotonic()
    except (Http404, PermissionDenied):
        yield event("end", {})
    finally:
        room.unsubscribe(mailbox)


@sync_to_async
def visible_changes(session: SessionBase, topics: Topics, news: Changes) -> dict[str, list[Any]]:
    """What of the news this session may hear, with the rights it has now.

    Raises `PermissionDenied` when it is no longer signed in, `Http404` when a row it asked for may not be seen.
    """
    try:
        permissions = Permissions.of(current_user(session))
        if not permissions.can_any(Verb.SEE):
            raise Http404
        visible = permissions.q(Verb.SEE, deployment="deployment__")
        heard: dict[str, list[Any]] = {}
        for subject, pks in topics.rows.items():
            if SUBJECTS[subject]._default_manager.filter(visible, pk__in=pks).count() != len(pks):
                raise Http404
            if changed := pks if news.is_anything else pks & news.of(subject):
                heard[subject] = sorted(changed)
        for name in sorted(topics.lists):
            rows, pks = SUBJECTS[LISTS[name]]._default_manager, news.of(LISTS[name])
            if news.is_anything or (pks and rows.filter(visible, pk__in=pks).exists()):
                heard.setdefault("list", []).append(name)
        return heard
    finally:
        # The stream goes on for hours, and the pool has few connections. Only a test has a transaction around this.
        if not connection.in_atomic_block:
            connection.close()


def current_user(session: SessionBase) -> User:
    """The signed-in person; the session is read again, as it may have ended since the stream began."""
    probe = HttpRequest()
    probe.session = type(session)(session.session_key)
    user = get_user(probe)
    if isinstance(user, User) and user.is_active and user.is_staff:
        return user
    raise PermissionDenied


def event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
