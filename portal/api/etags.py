"""ETag and If-Match: what is edited is what was read."""

from __future__ import annotations

import hashlib

from django.http import HttpRequest
from django.utils.http import parse_etags

from flows import canonical
from flows.models import Deployment
from runs.errors import Refused


def etag_of(row: Deployment) -> str:
    """Return the version of what can be edited: whether it is paused, and what it would run."""
    content = canonical.text([row.pk, row.is_paused, row.definition_fingerprint, row.schema_fingerprint])
    return f'"{hashlib.sha256(content.encode()).hexdigest()[:32]}"'


def require_match(request: HttpRequest, row: Deployment) -> None:
    """Refuse an edit without `If-Match`, or of another version than the present one."""
    given = request.headers.get("If-Match", "")
    if not given:
        raise Refused("precondition.required", "Read it first, and send its ETag as If-Match.")
    if given.strip() != "*" and etag_of(row) not in parse_etags(given):
        raise Refused("precondition.failed", "It was changed since you read it. Read it again, then decide.")
