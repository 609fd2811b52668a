"""Server-sent events that tell an open page which of its rows changed.

To most pages only ids are sent. The page then requests itself again, so that what it shows is always decided by its own
permissions. To a page that says which rows of a list it shows, the rows themselves are sent: see `row_feed`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.auth import SESSION_KEY, get_user
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.views.decorators.http import require_GET

from portal.lists.filters import Personal
from portal.lists.live_filters import condition_of
from portal.live import list_rows
from portal.live.broadcast import Broadcaster, Changes, Subscriber, broadcaster
from portal.live.rights import Rights
from runs import notifications
from runs.access.decisions import Permissions
from runs.errors import Refused
from runs.models import Run, RunRequest, Verb

# Shorter than the idle timeout of common reverse proxies, 60 s.
PING_SECONDS = 15.0
# Upper limit for a stream to outlive its session or the grants it depends on.
RECHECK_SECONDS = 60.0
# Least time between two events. A list changes with every run, so its pages would reload all the time.
PACE_SECONDS = 0.5
PACE_OF_LISTS_SECONDS = 2.0
MAX_ROWS = 50
# Of a list whose rows are sent; more changes at a time, and its pages request themselves again.
MAX_ROWS_SENT = 100
LONGEST_FILTERS = 2000
# Open streams per web process.
MAX_CLIENTS = 500
# Of pages that follow the unread messages alone: runs and lists have the rest.
MAX_CLIENTS_OF_INBOX = 250
# Of one user, in all their windows: otherwise one person could take every stream from the others.
MAX_CLIENTS_PER_USER = 10

SUBJECTS: dict[str, type[Model]] = {"run": Run, "request": RunRequest}
# Lookup prefix of the deployment whose grants decide about a row.
DEPLOYMENT_OF = {"run": "access_deployment__", "request": "deployment__"}
LISTS = {"runs": "run", "requests": "request", "deployments": "run"}


@dataclass(frozen=True, slots=True)
class Topics:
    """What a page subscribes to: rows by subject, and whole lists.

    `shows` is the query string of a list whose changed rows are sent; None where only its name is. `has_inbox` is
    whether the number of the reader's unread messages is sent.
    """

    rows: dict[str, frozenset[int]]
    lists: frozenset[str]
    shows: str | None = None
    has_inbox: bool = False

    @classmethod
    def of(cls, query: QueryDict) -> Topics:
        """Parse a query string; raises `Http404` for unknown topics, and for too many rows."""
        try:
            rows = {name: frozenset(map(int, query.getlist(name))) for name in SUBJECTS if name in query}
        except ValueError as error:
            raise Http404 from error
        lists = frozenset(query.getlist("list"))
        known = SUBJECTS.keys() | {"list", "shows", "inbox"}
        has_inbox = "inbox" in query
        is_valid = bool(rows or lists or has_inbox) and lists <= LISTS.keys() and not query.keys() - known
        if not is_valid or sum(map(len, rows.values())) > MAX_ROWS:
            raise Http404
        shows = query.get("shows")
        if shows is not None:
            require_rows(rows, lists, shows)
        return cls(rows, lists, shows, has_inbox)

    @property
    def is_inbox_only(self) -> bool:
        return not (self.rows or self.lists)

    def concerns(self, changes: Changes) -> bool:
        return (
            changes.is_anything
            or bool(changes.of("rights"))
            or any(pks & changes.of(subject) for subject, pks in self.rows.items())
            or any(changes.of(LISTS[name]) for name in self.lists)
        )


def require_rows(rows: Mapping[str, Collection[int]], lists: Collection[str], shows: str) -> None:
    """Raise `Http404` unless the rows of this list can be sent for these filters."""
    of = list_rows.LISTS.get(next(iter(lists), "")) if len(lists) == 1 else None
    if rows or of is None or len(shows) > LONGEST_FILTERS or (shows and not of.has_filters):
        raise Http404
    try:
        condition_of(admin.site.get_model_admin(of.model), QueryDict(shows))
    except (Personal, Refused) as error:
        raise Http404 from error


@require_GET
async def stream(request: HttpRequest) -> HttpResponseBase:
    """Open an endless event stream for `?run=12`, `?request=7`, `?list=runs`, `?inbox=1` and any combination of these.

    403 without a valid session, 404 for rows that the user cannot see, 503 when too many streams are open, in all or
    by this user.
    """
    channel = broadcaster()
    if len(channel.subscribers) >= MAX_CLIENTS:
        # live.js then polls every few seconds, and tries the stream again.
        return HttpResponse(status=503)
    session = request.session
    # Subscribe before checking permissions: a change between the two would otherwise be lost.
    subscriber = channel.subscribe()
    try:
        topics = Topics.of(request.GET)
        owner = str(await session.aget(SESSION_KEY, ""))
        # Last: it gives the connection back, which this request would hold until its first event.
        await visible_changes(session, topics, Changes())
        is_crowded = topics.is_inbox_only and len(channel.subscribers) > MAX_CLIENTS_OF_INBOX
        if is_crowded or sum(each.owner == owner for each in channel.subscribers) >= MAX_CLIENTS_PER_USER:
            channel.unsubscribe(subscriber)
            return HttpResponse(status=503)
        subscriber.owner = owner
    except (Http404, PermissionDenied) as refusal:
        channel.unsubscribe(subscriber)
        return HttpResponse(status=404 if isinstance(refusal, Http404) else 403)
    except BaseException:
        # Also when the client disconnects here, which cancels this task.
        channel.unsubscribe(subscriber)
        raise
    return StreamingHttpResponse(
        events(channel, subscriber, session, topics),
        content_type="text/event-stream",
        # nginx buffers responses unless told otherwise, and caches must not keep a stream.
        headers={"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"},
    )


async def events(
    channel: Broadcaster, subscriber: Subscriber, session: SessionBase, topics: Topics
) -> AsyncIterator[str]:
    """Yield "ready", then "nudge" for visible changes, and "end" when the user may no longer follow.

    "inbox" has the number of unread messages: at the beginning, because some may have come since the page was made, and
    when it may have changed.
    """
    sent_at = checked_at = time.monotonic()
    try:
        yield "retry: 3000\n" + event("ready", {})
        if topics.has_inbox:
            yield event("inbox", await unread_messages(int(subscriber.owner)))
        while True:
            changes = await subscriber.take(max(PING_SECONDS - (time.monotonic() - sent_at), 0.1)) or Changes()
            # The recheck ends streams of users who lost their access.
            if time.monotonic() - checked_at > RECHECK_SECONDS:
                await visible_changes(session, topics, Changes())
                checked_at = time.monotonic()
            if topics.has_inbox and (changes.is_anything or int(subscriber.owner) in changes.of("inbox")):
                yield event("inbox", await unread_messages(int(subscriber.owner)))
                sent_at = time.monotonic()
            if may_send_rows(topics, changes):
                if data := await changed_rows(channel, int(subscriber.owner), topics, changes):
                    yield f"event: rows\ndata: {data}\n\n"
                    sent_at = time.monotonic()
                    await asyncio.sleep(PACE_SECONDS)
            # Changes to other rows cost no query.
            elif topics.concerns(changes):
                visible = await visible_changes(session, topics, changes)
                checked_at = time.monotonic()
                if visible:
                    yield event("nudge", visible)
                    sent_at = time.monotonic()
                    # Meanwhile the subscriber collects: a burst of changes becomes one event.
                    await asyncio.sleep(PACE_OF_LISTS_SECONDS if topics.lists else PACE_SECONDS)
            if time.monotonic() - sent_at > PING_SECONDS:
                yield ": ping\n\n"
                sent_at = time.monotonic()
    except (Http404, PermissionDenied):
        # The browser would reconnect after an ordinary end of the stream; "end" tells live.js not to.
        yield event("end", {})
    finally:
        channel.unsubscribe(subscriber)


def may_send_rows(topics: Topics, changes: Changes) -> bool:
    """Whether the page can be told by rows; else it is told to request itself again."""
    if topics.shows is None or changes.is_anything or changes.of("rights"):
        return False
    return 0 < sum(map(len, own_and_runs(topics, changes))) <= MAX_ROWS_SENT


def own_and_runs(topics: Topics, changes: Changes) -> tuple[frozenset[int], frozenset[int]]:
    """Return the changed rows of the list that the page shows, and the changed runs that its rows may show."""
    of = list_rows.LISTS[next(iter(topics.lists))]
    return changes.of(of.subject), changes.of("run") if of.showing else frozenset()


async def changed_rows(channel: Broadcaster, reader: int, topics: Topics, changes: Changes) -> str:
    """Return the changed rows that a reader sees as the data of an event, "" if there are none.

    Of rows that no longer match the filters only the keys are sent; of those that the reader does not see nothing is.
    """
    feed = channel.rows[next(iter(topics.lists))]
    pks = await feed.keys(*own_and_runs(topics, changes))
    permissions = channel.rights.known(reader) or await read_rights(channel.rights, reader)
    visible = [
        (row, matches)
        for row, matches in await feed.read(sorted(pks), str(topics.shows))
        if permissions.decide(Verb.SEE, row.target)
    ]
    rows = [{"key": row.pk, "html": row.html_for(permissions)} for row, matches in visible if matches]
    gone = [row.pk for row, matches in visible if not matches]
    return json.dumps({"rows": rows, "gone": gone}) if visible else ""


@sync_to_async
def read_rights(rights: Rights, reader: int) -> Permissions:
    """Read the permissions of a user; raises `PermissionDenied` for one who may no longer sign in."""
    try:
        user = User.objects.filter(pk=reader, is_active=True, is_staff=True).first()
        if user is None:
            raise PermissionDenied
        return rights.read(user)
    finally:
        if not connection.in_atomic_block:
            connection.close()


@sync_to_async
def unread_messages(reader: int) -> dict[str, Any]:
    """Return the number of a user's unread messages, for the event's data."""
    try:
        return {"unread": notifications.count_unread(reader)}
    finally:
        if not connection.in_atomic_block:
            connection.close()


@sync_to_async
def visible_changes(session: SessionBase, topics: Topics, changes: Changes) -> dict[str, list[Any]]:
    """Return the changed rows and lists that this session can see with its current permissions, for the event's data.

    Raises `PermissionDenied` if it is no longer signed in, `Http404` if a subscribed row is no longer visible.
    """
    try:
        user = current_user(session)
        if topics.is_inbox_only:
            # Their own messages, which need no permission.
            return {}
        permissions = Permissions.of_person(user)
        if not permissions.can_any(Verb.SEE):
            raise Http404
        visible = {name: permissions.q(Verb.SEE, deployment=prefix) for name, prefix in DEPLOYMENT_OF.items()}
        found: dict[str, list[Any]] = {}
        # A rule that changed may open or close any row.
        is_anything = changes.is_anything or bool(changes.of("rights"))
        for subject, pks in topics.rows.items():
            if SUBJECTS[subject]._default_manager.filter(visible[subject], pk__in=pks).count() != len(pks):
                raise Http404
            if changed := pks if is_anything else pks & changes.of(subject):
                found[subject] = sorted(changed)
        for name in sorted(topics.lists):
            rows, pks = SUBJECTS[LISTS[name]]._default_manager, changes.of(LISTS[name])
            # Only the name of the list is sent, never ids: those of runs the user cannot see would reveal activity.
            if is_anything or (pks and rows.filter(visible[LISTS[name]], pk__in=pks).exists()):
                found.setdefault("list", []).append(name)
        return found
    finally:
        # A stream lasts for hours and must not hold one of the pool's few connections. Tests run in a transaction,
        # which closing the connection would end.
        if not connection.in_atomic_block:
            connection.close()


def current_user(session: SessionBase) -> User:
    """Read the session again and return its user; raises `PermissionDenied` if it has ended since."""
    # `get_user` takes a request. It also checks the session's hash, which changes with the password.
    probe = HttpRequest()
    probe.session = type(session)(session.session_key)
    user = get_user(probe)
    if isinstance(user, User) and user.is_active and user.is_staff:
        return user
    raise PermissionDenied


def event(name: str, data: dict[str, Any]) -> str:
    """Format one server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
