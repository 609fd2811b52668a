"""Who calls the API: the actor of a token, and how many requests it may send."""

from __future__ import annotations

import math
from datetime import timedelta

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin
from ninja.security import HttpBearer

from portal.api.request_text import require_plain
from portal.auth import throttle
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import tokens

# Requests of one token a minute. A client that reads logs of ten runs each second stays below.
LIMIT = 1200
WINDOW = timedelta(minutes=1)

# Counts a request in the running minute; the count of an earlier one begins again.
COUNT = """
    INSERT INTO portal_requestcount AS known (token, minute, requests) VALUES (%(token)s, %(minute)s, 1)
    ON CONFLICT (token) DO UPDATE SET
        requests = CASE WHEN known.minute = %(minute)s THEN known.requests + 1 ELSE 1 END, minute = %(minute)s
    RETURNING requests
"""


class TokenAuth(HttpBearer):
    """Takes `Authorization: Bearer portal_…`; its actor is `request.auth` then."""

    def authenticate(self, request: HttpRequest, token: str) -> Actor:
        address = request.META.get("REMOTE_ADDR", "")
        agent = request.META.get("HTTP_USER_AGENT", "")
        try:
            actor = tokens.authenticate(token, address=address, user_agent=agent)
        except Refused:
            # Counted after it: a valid token behind the same address is never kept waiting by others.
            throttle.begin_token(address)
            raise
        count(request, actor.token_id)
        # Names in the path reach the database like those in a body.
        require_plain(request.path)
        return actor


def count_minute(key: str) -> tuple[int, int]:
    """Count a request with a token or to a hook; return how many came in this minute, and the seconds left of it."""
    now = timezone.now()
    minute = math.floor(now.timestamp() / WINDOW.total_seconds())
    with connection.cursor() as cursor:
        cursor.execute(COUNT, {"token": key, "minute": minute})
        (requests,) = cursor.fetchone()
    return requests, max(1, math.ceil((minute + 1) * WINDOW.total_seconds() - now.timestamp()))


def count(request: HttpRequest, key: str, limit: int | None = None) -> None:
    """Count a request of a token; raises `Refused` with code `rate.exceeded` above the limit, by default the API's."""
    limit = LIMIT if limit is None else limit
    requests, seconds = count_minute(key)
    request.rate = (max(limit - requests, 0), seconds)  # type: ignore[attr-defined]  # for the headers of its response
    if requests > limit:
        raise Refused(
            "rate.exceeded",
            f"More than {limit} requests a minute came with this token. Try again in {seconds} s.",
            retry_after=seconds,
        )


class HeaderMiddleware(MiddlewareMixin):
    """Says how many requests are left, and that nothing of an answer of the API may be stored on the way."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if request.path.startswith("/api/"):
            response["Cache-Control"] = "no-store"
        if rate := getattr(request, "rate", None):
            left, seconds = rate
            response["RateLimit"] = f'"token";r={left};t={seconds}'
            response["RateLimit-Policy"] = f'"token";q={LIMIT};w={int(WINDOW.total_seconds())}'
        return response
