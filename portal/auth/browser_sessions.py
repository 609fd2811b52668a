"""The session engine: sessions of browsers, with who is signed in. The only writer of `BrowserSession`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from portal.models import BrowserSession
from runs import audit, change_feed
from runs.actors import Actor
from runs.errors import Refused

# Where and when the session began, in its data: kept when its key changes.
ORIGIN = "origin"
# Who follows several links that ask for a decision proves only once who they are.
RECENTLY = timedelta(minutes=5)


class SessionStore(DatabaseStore):
    """Django's store, whose rows also say whose session it is, and where and when it began."""

    @classmethod
    def get_model_class(cls) -> Any:
        return BrowserSession

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        row: Any = super().create_model_instance(data)
        origin = data.get(ORIGIN, {})
        row.user_id = data.get(SESSION_KEY)
        row.browser, row.address = origin.get("browser", ""), origin.get("address", "")
        row.signed_in_at = datetime.fromisoformat(origin["at"]) if "at" in origin else None
        return row


def begin(request: HttpRequest, *, address: str, user_agent: str, proven_at: datetime | None) -> None:
    """Note in the session of a user who has just signed in where it begins; delete their expired ones.

    `proven_at` is when they proved who they are: now with a password, earlier or None with single sign-on.
    """
    request.session[ORIGIN] = {
        "at": timezone.now().isoformat(),
        "proven_at": proven_at and proven_at.isoformat(),
        "address": address[: BrowserSession._meta.get_field("address").max_length],
        "browser": user_agent[: BrowserSession._meta.get_field("browser").max_length],
    }
    BrowserSession.objects.filter(user=request.user.pk, expire_date__lte=timezone.now()).delete()


def is_proven(request: HttpRequest) -> bool:
    """Return whether the user of this session has proven recently who they are."""
    at = request.session.get(ORIGIN, {}).get("proven_at")
    return at is not None and timezone.now() - datetime.fromisoformat(at) <= RECENTLY


def open_sessions(person: User) -> QuerySet[BrowserSession]:
    """Return the sessions with which the person is signed in, newest first."""
    return BrowserSession.objects.filter(user=person, expire_date__gt=timezone.now()).order_by("-expire_date")


def number_of(session_key: str) -> str:
    """Return by what a page names a session. Not its key, with which anyone could use it."""
    return salted_hmac("portal.auth.browser_sessions", session_key, algorithm="sha256").hexdigest()[:32]


def end(person: User, number: str, *, own_key: str | None, by: Actor) -> BrowserSession:
    """End one session of the person, other than the one with `own_key`.

    Raises `Refused` with code `session.unknown` if it has ended, or belongs to someone else.
    """
    with audit.act("session.end", None, by=by, subject_kind="session", subject_name=by.name) as act:
        # A person has few.
        others = open_sessions(person).exclude(session_key=own_key or "")
        found = next((row for row in others if constant_time_compare(number_of(row.session_key), number)), None)
        if found is None:
            raise Refused("session.unknown", "This session has ended already, or it is the one that you are using.")
        act.before = {"browser": found.browser, "address": found.address}
        BrowserSession.objects.filter(session_key=found.session_key).delete()
        # Pages that are still open there end their streams.
        change_feed.publish("rights", [person.pk])
    return found


def end_all(person: User) -> None:
    """End all sessions of a person; the caller has recorded why."""
    BrowserSession.objects.filter(user=person).delete()
    change_feed.publish("rights", [person.pk])


def end_others(person: User, *, own_key: str | None, by: Actor) -> int:
    """End all sessions of the person but the one with `own_key`; return how many."""
    with audit.act("session.end_others", None, by=by, subject_kind="session", subject_name=by.name) as act:
        ended, _ = BrowserSession.objects.filter(user=person).exclude(session_key=own_key or "").delete()
        act.after = {"sessions": ended}
        # Pages that are still open elsewhere end their streams.
        change_feed.publish("rights", [person.pk])
    return ended
