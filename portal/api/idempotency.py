"""`Idempotency-Key`: a request that is sent again is answered again, and done once."""

from __future__ import annotations

import hashlib
import inspect
import secrets
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Schema, Status

from flows import encryption
from portal.models import IdempotentRequest
from runs.errors import Refused

KEPT_FOR = timedelta(hours=24)
# A request that was cut off by the end of its process leaves no answer: after this long its key is free.
LONGEST_REQUEST = timedelta(minutes=2)
# One request of so many deletes what is over.
CLEANED_EVERY = 100
MAX_LENGTH = 200
HEADER = "Idempotency-Key"
NAMESPACE = uuid.UUID("7c0c2b5e-8f0e-4b8e-9a63-0d3c5a1f6f4e")

type View = Callable[..., Any]


def idempotent(view: View) -> View:
    """Answer a route that acts from the stored answer, if the token has sent the same key before.

    Refused with code `idempotency.key_reused` (another request with the key) or `idempotency.in_flight`. A refusal is
    not stored: the request can be sent again with the same key once its cause is gone.
    """

    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        key = request.headers.get(HEADER, "")
        if not key:
            return view(request, *args, **kwargs)
        if len(key) > MAX_LENGTH or not key.isprintable():
            raise Refused("idempotency.key_invalid", f"The {HEADER} may have {MAX_LENGTH} printable characters.")
        token: str = request.auth.token_id  # type: ignore[attr-defined]  # the actor of the token
        row = begin(token, key, fingerprint(request))
        if row.status is not None:
            response = HttpResponse(
                encryption.unseal(row.sealed_answer), status=row.status, content_type="application/json"
            )
            response["Idempotent-Replayed"] = "true"
            return response
        try:
            response = as_response(view(request, *args, **kwargs))
        except BaseException:
            row.delete()
            raise
        row.status, row.sealed_answer = response.status_code, encryption.seal(response.content.decode())
        row.save(update_fields=["status", "sealed_answer"])
        return response

    # With evaluated annotations: the library would look their names up in this module.
    inner.__signature__ = inspect.signature(view, eval_str=True)  # type: ignore[attr-defined]
    return inner


def as_response(result: Schema | Status[Schema]) -> HttpResponse:
    """Return what a route returns as the response that is sent and stored."""
    status, value = (result.status_code, result.value) if isinstance(result, Status) else (200, result)
    return HttpResponse(value.model_dump_json(), status=status, content_type="application/json")


def submission_key(request: HttpRequest) -> uuid.UUID | None:
    """Return the key by which the database inserts a submission once, whatever becomes of the process that answers."""
    key = request.headers.get(HEADER, "")
    token: str = request.auth.token_id  # type: ignore[attr-defined]  # the actor of the token
    return uuid.uuid5(NAMESPACE, f"{token} {key}") if key else None


def begin(token: str, key: str, made: str) -> IdempotentRequest:
    """Insert the row of a new key, or return the one that has its answer."""
    now = timezone.now()
    is_over = Q(created_at__lt=now - KEPT_FOR) | Q(status=None, created_at__lt=now - LONGEST_REQUEST)
    if secrets.randbelow(CLEANED_EVERY) == 0:
        IdempotentRequest.objects.filter(is_over).delete()
    # The constraint decides, not a query before it: both can arrive at once.
    row = insert(token, key, made)
    if row is None:
        IdempotentRequest.objects.filter(is_over, token=token, key=key).delete()
        row = insert(token, key, made)
    if row:
        return row
    row = IdempotentRequest.objects.filter(token=token, key=key).first()
    if row is None or (row.fingerprint == made and row.status is None):
        raise Refused(
            "idempotency.in_flight",
            "A request with this key is being answered. Send it again in a moment.",
            retry_after=1,
        )
    if row.fingerprint != made:
        raise Refused(
            "idempotency.key_reused", "Another request was sent with this key. Use a new key for a new request."
        )
    return row


def insert(token: str, key: str, made: str) -> IdempotentRequest | None:
    """Insert the row of a key; return None if it is there."""
    try:
        with transaction.atomic():
            return IdempotentRequest.objects.create(token=token, key=key, fingerprint=made)
    except IntegrityError:
        return None


def fingerprint(request: HttpRequest) -> str:
    """Return the SHA-256 of method, path with query, and body."""
    made = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode())
    made.update(request.body)
    return made.hexdigest()
