"""Errors of the client.

PortalError
├── Misconfigured         no address or token, or an address that is not safe to send a token to
├── Unreachable           no answer of the portal: no connection, a timeout, a proxy without a portal behind it
├── UnexpectedAnswer      an answer that is not the API's: a redirect, a sign-in page, another version
├── StillRunning          `wait` has reached its timeout
└── Problem               the portal refused or failed
    ├── TokenRejected     401: the token is not valid, has expired or was revoked
    ├── Forbidden         403: a grant or a scope is missing
    ├── NotFound          404: there is no such row, or it is not visible
    ├── Conflict          409, 412: its state does not allow it, or it was changed meanwhile
    ├── Invalid           422: values or parts of the request; `errors` has one for each field
    ├── TooManyRequests   429
    └── PortalFailed      5xx: an error in the portal, or Prefect does not respond
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

IN_FLIGHT = "idempotency.in_flight"


class PortalError(Exception):
    """Any error of this client. Its text is a sentence for people."""


class Misconfigured(PortalError):
    """The client cannot be used with these settings."""


class Unreachable(PortalError):
    """The portal did not answer. A request that acts may have arrived: send it again with the same key."""


class UnexpectedAnswer(PortalError):
    """Something other than the portal's API answered."""


class StillRunning(PortalError):
    """It has not ended within the timeout; `last` is what it was when last read."""

    def __init__(self, sentence: str, last: Any) -> None:
        super().__init__(sentence)
        self.last = last


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one parameter, or one part of a request."""

    field: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message} ({self.code})"


class Problem(PortalError):
    """The portal's answer to a request that it did not carry out.

    `code` is for programs and stays the same, `detail` is one sentence for people. `data` has values for programs,
    `errors` one error for each value that is not valid, `retry_after` the seconds to wait, or None.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        data: Mapping[str, Any] | None = None,
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(status, code, detail)
        self.status, self.code, self.detail = status, code, detail
        self.data, self.errors, self.retry_after = dict(data or {}), errors, retry_after

    def __str__(self) -> str:
        return f"{self.detail} ({self.code})"

    @property
    def is_temporary(self) -> bool:
        """Whether the same request can succeed a moment later."""
        return self.status >= 500 or self.status == 429 or self.code == IN_FLIGHT


class TokenRejected(Problem):
    """The token is not valid, has expired or was revoked."""


class Forbidden(Problem):
    """A grant of the user or a scope of the token is missing."""


class NotFound(Problem):
    """There is no such row, or it is not visible; which of the two is not revealed."""


class Conflict(Problem):
    """The state does not allow it, or it was changed since it was read."""


class Invalid(Problem):
    """Values or parts of the request are not valid, or a rule refuses it."""


class TooManyRequests(Problem):
    """The token or the address has sent too many requests."""


class PortalFailed(Problem):
    """An error in the portal, or Prefect does not respond."""


BY_STATUS: dict[int, type[Problem]] = {
    401: TokenRejected,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    422: Invalid,
    429: TooManyRequests,
}


def problem_of(status: int, body: Mapping[str, Any], retry_after: float | None) -> Problem:
    """Return the error for a problem document of the API."""
    kind = PortalFailed if status >= 500 else BY_STATUS.get(status, Problem)
    errors = tuple(
        FieldError(str(each.get("field", "")), str(each.get("code", "")), str(each.get("message", "")))
        for each in body.get("errors") or ()
    )
    return kind(
        status,
        str(body.get("code", "")),
        str(body.get("detail") or body.get("title") or f"The portal answered with {status}."),
        data=body.get("data"),
        errors=errors,
        retry_after=retry_after,
    )
