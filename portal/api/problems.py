"""Errors of the API as problem details (RFC 9457): the code of the refusal for programs, its sentence for people."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from ninja import Field, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError

from flows.parameters import Invalid
from runs.access.decisions import Forbidden
from runs.errors import CODES, Refused

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger(__name__)

# Codes that are neither about values (422) nor end in ".unknown" (404), by the status they come with.
CONFLICTS = frozenset(
    {
        *("approval.complete", "approval.stale", "approval.twice", "cancellation.pending", "definition.changed"),
        *("schedule.ended", "schedule.not_active", "schedule.not_live", "schedule.not_paused", "schedule.obstructed"),
        *(
            "chain.disabled",
            "chain.ended",
            "chain.nothing_failed",
            "chain.over",
            "chain.owner_inactive",
            "chain.paused",
            "chain.plan_changed",
            "chain.taken",
            "chain.version_changed",
            "gate.none",
        ),
        "schedule.withdraw",
        *("backfill.over", "backfill.paused", "backfill.plan_changed", "backfill.running"),
        *("deployment.unchanged", "environment.moved", "freeze.already", "freeze.none", "grant.revoked"),
        *("idempotency.in_flight", "occurrence.closed", "override.not_waiting", "request.changed", "request.expired"),
        *(
            "failure.state",
            "level.removed",
            "notification_rule.removed",
            "preset.taken",
            "retry.pending",
            "rules.moved",
            "run.finished",
            "run.gone",
            "schema.changed",
            "state.illegal",
        ),
    }
)
FORBIDDEN = frozenset(
    {
        *("access.administrators_only", "approval.group", "approval.not_independent", "approval.on_behalf"),
        *("approval.own", "approval.password_not_own", "grant.beyond_own", "grant.denied", "grant.deny", "grant.group"),
        *("grant.not_own", "grant.own", "rules.administrators_only", "rules.beneficiary", "rules.not_own"),
        *("service_account.own", "token.interactive", "token.not_own", "override.expired"),
        *("chain.agent", "chain.agent_values", "gate.agent", "job_token.claims"),
        *("job_trust.not_own", "preset.not_own", "notification_rule.not_yours"),
    }
)
REJECTED = ("malformed", "issuer", "audience", "expired", "signature", "used_up")
STATUS: dict[str, int] = {
    **dict.fromkeys(CONFLICTS, 409),
    **dict.fromkeys(FORBIDDEN, 403),
    **{f"job_token.{name}": 401 for name in REJECTED},
    "job_token.unavailable": 503,
    **dict.fromkeys(("token.invalid", "token.expired", "token.revoked", "token.network"), 401),
    **dict.fromkeys(("token.user_inactive", "token.door"), 401),
    "precondition.failed": 412,
    "precondition.required": 428,
    "events.too_many": 429,
    "rate.exceeded": 429,
    "token.throttled": 429,
}


class ProblemField(Schema):
    field: str = Field(description="Name of the parameter or of the part of the request.")
    code: str
    message: str


class Problem(Schema):
    """What went wrong, to what, and what to do."""

    type: str = Field(description="“urn:portal:” and the code.", examples=["urn:portal:reason.required"])
    title: str = Field(description="What the code means, the same each time.")
    status: int
    detail: str = Field(description="One sentence for people. Its words can change.")
    code: str = Field(description="For programs; it stays the same for ever.", examples=["reason.required"])
    data: dict[str, Any] = Field(default={}, description="Values for programs, such as the time a window opens.")
    errors: list[ProblemField] = Field(default=[], description="One for each value that is not valid.")


# What any route can answer; each declares it.
STATUSES = frozenset({400, 401, 403, 404, 409, 413, 422, 429})
PROBLEMS: dict[frozenset[int], type[Problem]] = {STATUSES: Problem}
TITLES = {
    "request.malformed": "The request cannot be read.",
    "request.invalid": "Parts of the request are not valid.",
    "request.too_large": "The request is too large.",
    "route.unknown": "No such row or address, or it is not visible.",
    "parameters.invalid": "Parameters of the run are not valid.",
    "portal.failed": "An error in the portal.",
}


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    data: Mapping[str, Any] | None = None,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """Return the response for one problem."""
    body = {
        "type": f"urn:portal:{code}",
        "title": TITLES.get(code) or CODES.get(code) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "data": dict(data or {}),
        "errors": list(errors),
    }
    text = json.dumps(body, default=str)
    return HttpResponse(text, status=status, content_type=MEDIA_TYPE, headers=dict(headers or {}))


def of_refusal(request: HttpRequest, error: Refused) -> HttpResponse:
    if isinstance(error, Forbidden):
        return problem(403, error.code, error.message, data=error.data)
    usual = 404 if error.code.endswith(".unknown") else 422
    status = STATUS.get(error.code, usual)
    headers = {"WWW-Authenticate": 'Bearer realm="portal"'} if status == 401 else {}
    if seconds := error.data.get("retry_after"):
        headers["Retry-After"] = str(seconds)
    return problem(status, error.code, error.message, data=error.data, headers=headers)


def of_parameters(request: HttpRequest, error: Invalid) -> HttpResponse:
    errors = [{"field": each.field, "code": each.code, "message": str(each.message)} for each in error.errors]
    return problem(422, error.code, str(error), errors=errors)


def of_validation(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Answer a request that does not fit the schema; the values are left out, which may be secret."""
    errors = [
        {"field": ".".join(map(str, each["loc"])), "code": str(each["type"]), "message": str(each["msg"])}
        for each in error.errors
    ]
    named = "; ".join(f"{each['field']}: {each['message']}" for each in errors[:3])
    return problem(422, "request.invalid", f"Parts of the request are not valid: {named}.", errors=errors)


def of_http(request: HttpRequest, error: HttpError) -> HttpResponse:
    # The library says of every error in its parser that the body cannot be parsed.
    if isinstance(error.__cause__, Refused):
        return of_refusal(request, error.__cause__)
    return problem(error.status_code, "request.malformed", f"{error}.".replace("..", "."))


def of_authentication(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    missing = Refused("token.invalid", "Send a token of the portal: “Authorization: Bearer portal_…”.")
    return of_refusal(request, missing)


def not_found(request: HttpRequest, error: Exception | None = None) -> HttpResponse:
    return problem(404, "route.unknown", "There is nothing here, or you cannot see it.")


@csrf_exempt
def missing_route(request: HttpRequest, rest: str) -> HttpResponse:
    """Answer for addresses below /api/ that no route has."""
    return not_found(request)


def bad_request(request: HttpRequest, error: Exception) -> HttpResponse:
    if isinstance(error, RequestDataTooBig):
        return problem(413, "request.too_large", "A request may have up to 8 MB. Store large data elsewhere.")
    return problem(400, "request.malformed", "The request cannot be read.")


def of_failure(request: HttpRequest, error: Exception) -> HttpResponse:
    log.exception("The API failed at %s %s.", request.method, request.path)
    return problem(500, "portal.failed", "Something went wrong in the portal. Its log says what.")


# exception -> the answer to it
HANDLERS: dict[type[Exception], Any] = {
    Refused: of_refusal,
    Invalid: of_parameters,
    ValidationError: of_validation,
    HttpError: of_http,
    AuthenticationError: of_authentication,
    Http404: not_found,
    SuspiciousOperation: bad_request,
    Exception: of_failure,
}
