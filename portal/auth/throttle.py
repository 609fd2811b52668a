"""Slow down guessing of passwords and requests for links: the only code that writes `FailedAttempts`.

An attempt is counted as failed before the password is checked, so that attempts at the same time are counted too, and
taken back when it succeeds. While one waits, no password is checked, and known and unknown names are answered alike.

No account is locked for good: a browser that has signed in before is counted separately (a signed cookie), any other
place by its address, and failures from elsewhere only make the limit of a place stricter. Requests for a link to
choose a new password are counted by mailbox, wherever they come from: each of them is an email.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac

from flows.wording import plural
from portal.models import FailedAttempts
from runs.errors import Refused

FORGOTTEN_AFTER = timedelta(minutes=15)
COOKIE = f"{settings.COOKIE_PREFIX}portal_known_browser"
COOKIE_AGE = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Limit:
    """How many attempts may fail before one has to wait; the wait is doubled at each further one."""

    allowed: int
    shortest: int = 5  # seconds
    longest: int = 300
    # A count that was not added to for this long begins again. Longer than the longest wait.
    forgotten_after: timedelta = FORGOTTEN_AFTER


PLACE = Limit(5)
# For a name that is guessed from many places: each gets one attempt, enough for the person who knows the password.
SUSPECTED_PLACE = Limit(1)
SUSPECTED_AFTER = 20
# Many people may be behind one address, so it allows more, and they never wait for long.
ADDRESS = Limit(30, longest=60)
# At most eight emails an hour for each account. A mailbox that has to wait has a link already.
MAILBOX = Limit(3, shortest=60, longest=1800, forgotten_after=timedelta(hours=1))

# Adds one to a count. While it is blocked, no row is returned.
COUNT = """
    INSERT INTO portal_failedattempts AS known (key, failures, blocked_until, expires_at, is_recorded)
    VALUES (%(key)s, 1, NULL, %(expires_at)s, false)
    ON CONFLICT (key) DO UPDATE SET
        failures = CASE WHEN known.expires_at <= %(now)s THEN 1 ELSE known.failures + 1 END,
        is_recorded = known.is_recorded AND known.expires_at > %(now)s,
        blocked_until = NULL, expires_at = %(expires_at)s
    WHERE known.blocked_until IS NULL OR known.blocked_until <= %(now)s
    RETURNING failures
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that counts as failed until `succeed`. The first three are keys; "" is not counted."""

    place: str
    name: str = ""
    address: str = ""
    limit: Limit = PLACE

    @property
    def is_recorded(self) -> bool:
        """Whether the audit trail says already that this place or address is throttled; it needs no more of it."""
        return FailedAttempts.objects.filter(key__in=[self.place, self.address], is_recorded=True).exists()

    def succeed(self) -> None:
        """Forget the failures of this place, and take this one from the name and the address."""
        # In the order in which they were counted.
        for key in (self.address, self.name):
            FailedAttempts.objects.filter(key=key, failures__gt=0).update(failures=F("failures") - 1)
        # Only a block that this attempt has set: who has an account could otherwise lift that of an address at will.
        FailedAttempts.objects.filter(key=self.address, failures__lt=ADDRESS.allowed).update(blocked_until=None)
        FailedAttempts.objects.filter(key=self.place).delete()


def begin_sign_in(request: HttpRequest, name: str) -> Attempt:
    """Count an attempt to sign in; raises `Refused` while this browser or address has to wait."""
    known = request.get_signed_cookie(COOKIE, default="", salt=COOKIE, max_age=COOKIE_AGE)
    if known == key_of("name", name):
        # Neither failures from elsewhere nor those of neighbours behind the same address count against it.
        return begin(Attempt(key_of("browser", name)))
    address = request.META.get("REMOTE_ADDR", "")
    return begin(Attempt(key_of("place", name, address), key_of("name", name), key_of("address", address)))


def begin_own_password(user_pk: int) -> Attempt:
    """Count an attempt to enter the old password; raises `Refused`."""
    return begin(Attempt(key_of("password", str(user_pk))))


def begin_reset_link(request: HttpRequest, email: str) -> Attempt:
    """Count a request for a link to choose a new password, which never succeeds; raises `Refused`."""
    # Spellings that Django compares as equal reach the same mailbox.
    mailbox = unicodedata.normalize("NFKC", email).casefold()
    address = request.META.get("REMOTE_ADDR", "")
    attempt = Attempt(key_of("mailbox", mailbox), address=key_of("link address", address), limit=MAILBOX)
    try:
        return begin(attempt)
    except Refused as refusal:
        wait = describe_wait(refusal.data["retry_after"])
        raise Refused(
            "reset_link.throttled",
            f"A link was requested several times. Check your email, or try again in {wait}.",
            **refusal.data,
        ) from refusal


def begin_token(address: str) -> Attempt:
    """Count a request with a token that is not valid; raises `Refused` when many came from the address."""
    attempt = Attempt(key_of("token address", address), limit=ADDRESS)
    try:
        return begin(attempt)
    except Refused as refusal:
        wait = describe_wait(refusal.data["retry_after"])
        raise Refused(
            "token.throttled",
            f"Too many requests with invalid tokens came from this address. Try again in {wait}.",
            **refusal.data,
        ) from refusal


def begin_sign_on(address: str) -> Attempt:
    """Count a return from the provider of single sign-on, until it succeeds; raises `Refused`."""
    attempt = Attempt(key_of("sign-on address", address), limit=ADDRESS)
    try:
        return begin(attempt)
    except Refused as refusal:
        wait = describe_wait(refusal.data["retry_after"])
        raise Refused(
            "sign_on.throttled",
            f"Too many sign-ons from this address have failed. Try again in {wait}.",
            **refusal.data,
        ) from refusal


def begin_hook(address: str) -> Attempt:
    """Count a message that a hook refuses unproven; raises `Refused` when many came from the address."""
    attempt = Attempt(key_of("hook address", address), limit=ADDRESS)
    try:
        return begin(attempt)
    except Refused as refusal:
        wait = describe_wait(refusal.data["retry_after"])
        raise Refused(
            "hook.throttled",
            f"Too many messages that hooks refuse came from this address. Try again in {wait}.",
            **refusal.data,
        ) from refusal


def remember_browser(response: HttpResponse, name: str) -> None:
    """Set the cookie of a browser that has signed in. It is worth nothing else, and only for this name."""
    response.set_signed_cookie(
        COOKIE,
        key_of("name", name),
        salt=COOKIE,
        max_age=COOKIE_AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def begin(attempt: Attempt) -> Attempt:
    """Count an attempt everywhere, or nowhere when it is throttled."""
    now = timezone.now()
    # Skipping what is locked: nothing here may wait for a lock while it holds others.
    expired = FailedAttempts.objects.filter(expires_at__lte=now).select_for_update(skip_locked=True)
    FailedAttempts.objects.filter(pk__in=expired.values("pk")).delete()
    is_suspected = False
    with transaction.atomic():
        # Always in this order, so that two attempts never wait for each other.
        is_free = not attempt.address or count(attempt.address, ADDRESS, now)
        if is_free and attempt.name:
            is_suspected = count(attempt.name, None, now) > SUSPECTED_AFTER
        is_free = is_free and count(attempt.place, SUSPECTED_PLACE if is_suspected else attempt.limit, now)
        if not is_free:
            transaction.set_rollback(True)
    if not is_free:
        raise throttled(attempt, now)
    return attempt


def count(key: str, limit: Limit | None, now: datetime) -> int:
    """Add one to a count and block it when it is over its limit; return the new count, or 0 while it is blocked."""
    with connection.cursor() as cursor:
        expires_at = now + (limit.forgotten_after if limit else FORGOTTEN_AFTER)
        cursor.execute(COUNT, {"key": key, "now": now, "expires_at": expires_at})
        row = cursor.fetchone()
    failures: int = row[0] if row else 0
    if limit and failures >= limit.allowed:
        doublings = min(failures - limit.allowed, 10)
        wait = min(limit.shortest * (1 << doublings), limit.longest)
        FailedAttempts.objects.filter(key=key).update(blocked_until=now + timedelta(seconds=wait))
    return failures


def throttled(attempt: Attempt, now: datetime) -> Refused:
    """Return the refusal: when to try again, and whether the audit trail does not say so yet."""
    blocked = FailedAttempts.objects.filter(key__in=[attempt.place, attempt.address], blocked_until__gt=now)
    until = max([row.blocked_until or now for row in blocked], default=now)
    is_first = False
    if not attempt.is_recorded:
        for key in (attempt.address, attempt.place):
            is_first |= bool(blocked.filter(key=key, is_recorded=False).update(is_recorded=True))
    # At least a second: it may have ended since it was counted.
    seconds = max(1, math.ceil((until - now).total_seconds()))
    return Refused(
        "sign_in.throttled",
        f"Too many failed attempts. Try again in {describe_wait(seconds)}.",
        retry_after=seconds,
        is_first=is_first,
    )


def describe_wait(seconds: int) -> str:
    return plural(math.ceil(seconds / 60), "minute") if seconds > 90 else plural(seconds, "second")


def key_of(*parts: str) -> str:
    """Return an HMAC of what is counted."""
    return salted_hmac("portal.auth.throttle", "\0".join(parts), algorithm="sha256").hexdigest()
