"""HTTP with the portal: the token, retries of what is safe to repeat, and errors instead of foreign answers."""

from __future__ import annotations

import ipaddress
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx

from .client_errors import (
    Misconfigured,
    PortalError,
    Problem,
    UnexpectedAnswer,
    Unreachable,
    problem_of,
)

VERSION = "0.1.0"
ROOT = "/api/v1"
EVENTS = "text/event-stream"
ATTEMPTS = 5
# Seconds before the second attempt, doubled at each further one. With all attempts a restart of the portal passes.
BACKOFF = 0.5
# The longest `Retry-After` that is waited for; a longer one is an error at once.
LONGEST_WAIT = 60.0
EXPIRED = "token.expired"


@dataclass(frozen=True, slots=True)
class Answer:
    body: Any
    headers: Mapping[str, str]


class WebSession:
    """Sends requests to one portal. The token is in the headers of the connection and nowhere else.

    `renew` gets another one when it has expired. None is no token: for the exchange of a job token.
    """

    def __init__(
        self,
        address: str,
        token: str | None,
        *,
        renew: Callable[[], str] | None = None,
        allow_insecure: bool = False,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.address = safe_address(address, allow_insecure=allow_insecure)
        self._renew = renew
        self._http = httpx.Client(
            base_url=f"{self.address}{ROOT}",
            headers={
                "Accept": "application/json",
                "User-Agent": f"portal_client/{VERSION}",
            },
            timeout=timeout,
            transport=transport,
            follow_redirects=False,
            # A proxy of the environment must not receive what is sent to this machine without encryption.
            trust_env=self.address.startswith("https:"),
        )
        if token is not None:
            self._use(token)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    def close(self) -> None:
        self._http.close()

    def renew(self) -> bool:
        """Get another token in place of one that has expired; return whether there is a way to."""
        if self._renew is None:
            return False
        self._use(self._renew())
        return True

    def _use(self, token: str) -> None:
        # Checked here: the library would quote a header that it cannot send.
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise Misconfigured("This is no token of the portal. Create one in the portal under “API tokens”.")
        self._http.headers["Authorization"] = f"Bearer {token}"

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        key: str = "",
        headers: Mapping[str, str] | None = None,
        is_safe: bool = False,
    ) -> Answer:
        """Send a request and return its answer; raises `PortalError`.

        It is repeated after connection errors, 5xx, 429 and while its key is in flight, if that cannot act twice: a
        GET, a request with an idempotency key, or one that `is_safe`.
        """
        content = None if body is None else to_json(body)
        sent = {"Content-Type": "application/json"} if content is not None else {}
        sent |= dict(headers or {}) | ({"Idempotency-Key": key} if key else {})
        query = {name: value for name, value in (params or {}).items() if value not in (None, "", [])}
        is_repeatable = method == "GET" or bool(key) or is_safe
        pause, may_renew = BACKOFF, True
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._attempt(method, path, query, content, sent)
            except (Unreachable, Problem) as error:
                is_expired = attempt < ATTEMPTS and getattr(error, "code", "") == EXPIRED
                if may_renew and is_expired and self.renew():
                    # Nothing was done with it, so any request can be sent again; once.
                    may_renew = False
                    continue
                wait = wait_before_retry(error, pause)
                if not is_repeatable or attempt == ATTEMPTS or wait is None:
                    raise
            time.sleep(wait)
            pause *= 2
        raise AssertionError("The last attempt returns or raises.")

    @contextmanager
    def stream(self, path: str, *, params: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[Iterator[str]]:
        """Open an endless answer and return its lines; raises `PortalError`, also while they are read."""
        query = {name: value for name, value in params.items() if value not in (None, "", [])}
        try:
            # The portal sends a comment every 15 s.
            with self._http.stream("GET", path, params=query, headers=dict(headers), timeout=45.0) as response:
                if not response.headers.get("Content-Type", "").startswith(EVENTS):
                    response.read()
                    self._read(response)
                    raise UnexpectedAnswer(f"{self.address} answered with something other than events.")
                yield response.iter_lines()
        except (httpx.RequestError, httpx.StreamError) as error:
            raise Unreachable(f"{self.address} cannot be reached: {error}.".replace("..", ".")) from error

    def _attempt(
        self, method: str, path: str, query: Mapping[str, Any], content: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        try:
            response = self._http.request(method, path, params=query, content=content, headers=dict(headers))
        except httpx.TimeoutException as error:
            raise Unreachable(f"{self.address} did not answer in time.") from error
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise Unreachable(f"{self.address} cannot be reached: {error}.".replace("..", ".")) from error
        return self._read(response)

    def _read(self, response: httpx.Response) -> Answer:
        """Return the answer of the API; raises `PortalError` for problems, and for answers of others."""
        status = response.status_code
        if response.is_redirect:
            # Only its host: the query can carry what a sign-in needs.
            target = httpx.URL(response.headers.get("Location", "")).host or "another page"
            raise UnexpectedAnswer(
                f"{self.address} redirects to {target}. A sign-in page in front of the portal has to let /api/ pass, "
                "or the address is not the portal's."
            )
        if "json" not in response.headers.get("Content-Type", ""):
            if status >= 500:
                raise Unreachable(f"A proxy at {self.address} answered with {status}: the portal does not respond.")
            raise UnexpectedAnswer(
                f"{self.address} answered with {status} and a page, not with JSON: a sign-in page or a proxy is in "
                "between, or the address is not the portal's."
            )
        try:
            body = response.json()
        except ValueError as error:
            raise UnexpectedAnswer(f"The answer of {self.address} cannot be read.") from error
        if response.is_success:
            return Answer(body, response.headers)
        raise problem_of(status, body if isinstance(body, dict) else {}, retry_after(response))


def path(*parts: object) -> str:
    """Return a path of the API; each part is quoted, so that no name leads elsewhere."""
    return "".join(f"/{quote(str(part), safe='')}" for part in parts)


def to_json(body: Mapping[str, Any]) -> bytes:
    """Return the same bytes for the same content, by which the portal recognizes a repeated request."""

    def plain(value: object) -> str:
        if isinstance(value, date | UUID):  # a datetime is a date
            return value.isoformat() if isinstance(value, date) else str(value)
        raise TypeError(f"A {type(value).__name__} cannot be sent as JSON.")

    return json.dumps(body, sort_keys=True, allow_nan=False, default=plain).encode()


def retry_after(response: httpx.Response) -> float | None:
    """Return the seconds of `Retry-After`; None without, or with a date, which the portal does not send."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def wait_before_retry(error: PortalError, pause: float) -> float | None:
    """Return the seconds before the next attempt, or None if the error is final."""
    if isinstance(error, Problem):
        if not error.is_temporary or (error.retry_after or 0) > LONGEST_WAIT:
            return None
        if error.retry_after is not None:
            return error.retry_after
    # Spread, so that clients that were cut off together do not return together.
    return pause * random.uniform(0.5, 1.0)


def safe_address(address: str, *, allow_insecure: bool) -> str:
    """Return the address without its path of the API; raises `Misconfigured` for one that a token must not go to."""
    try:
        url = httpx.URL(address.strip())
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise Misconfigured("Give the address of the portal as in a browser: https://portal.example.com.")
    if url.userinfo:
        raise Misconfigured("An address with a user name or password is refused: the token is enough.")
    if url.scheme == "http" and not allow_insecure and not is_loopback(url.host):
        raise Misconfigured(
            f"http://{url.host} would send the token without encryption. Use https://, or allow it: "
            "allow_insecure in Python, PORTAL_ALLOW_INSECURE=1, or “portal login --allow-insecure”."
        )
    return str(url).rstrip("/").removesuffix(ROOT).rstrip("/")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
