"""Signatures of the audit trail, and of change requests with their specs, runs, approvals and overrides.

HMAC-SHA256 under a key that only the portal has. A digest can be computed by everyone who can read the database; a
signature only with a key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from functools import cache

from django.conf import settings
from django.db import models

from flows import canonical
from runs.models import (
    Approval,
    AuditCheckpoint,
    AuditEntry,
    BreakGlass,
    ChangeRequest,
    RunRequest,
    RunSpec,
    StepDecision,
)

type Signed = AuditEntry | AuditCheckpoint | ChangeRequest | RunSpec | RunRequest | Approval | BreakGlass | StepDecision
# key id -> the HMAC under the key, of nothing yet; newest first
type Keys = dict[str, hmac.HMAC]

# Characters of the id by which a signature names its key. The id is a part of the key's digest, so it reveals nothing.
ID_LENGTH = 8
# The columns that are signed beside a digest.
CHANGE = ["kind", "submission_key", "digest", "environment_id", "requested_by_id", "on_behalf_of_id", "agent_id"]
SPEC = ["position", "digest", "deployment_id", "is_blind"]
OCCURRENCE = ["occurrence", "scheduled_for", "mapped_values"]
CHECKPOINT = ["first", "last", "digest", "began_at", "ended_at", "retired_by", "kept_in"]


def current_keys() -> Keys:
    """Return the keys of the portal; the first one signs."""
    return keys_of(tuple(settings.AUDIT_KEYS))


# Cached by the keys, because tests and rotation change the setting within one process.
@cache
def keys_of(texts: Sequence[str]) -> Keys:
    return {
        hashlib.sha256(b"audit key " + text.encode()).hexdigest()[:ID_LENGTH]: hmac.new(text.encode(), None, "sha256")
        for text in texts
    }


def sign(row: Signed) -> str:
    """Return `<key id>:<HMAC in hexadecimal>` over what the row says, with the newest key."""
    name, key = next(iter(current_keys().items()))
    return f"{name}:{mac(key, content(row))}"


def is_signed(row: Signed, keys: Keys | None = None) -> bool:
    """Return whether the row's signature was made over what it says, with one of the keys."""
    return is_valid(content(row), row.signature, current_keys() if keys is None else keys)


def is_valid(text: str, signature: str, keys: Keys) -> bool:
    name, _, given = signature.partition(":")
    key = keys.get(name)
    return key is not None and hmac.compare_digest(mac(key, text).encode(), given.encode())


def mac(key: hmac.HMAC, text: str) -> str:
    # A copy takes half the time of a new one, and verify_audit needs one for each entry of years.
    made = key.copy()
    made.update(text.encode())
    return made.hexdigest()


def content(row: Signed) -> str:
    """Return the text that is signed. It begins with the kind of the row, so that no signature fits another kind."""
    match row:
        case AuditEntry():
            return of_entry(row.digest)
        case ChangeRequest():
            # The digest covers names; these are the keys behind them. The submission key is unique: a copy has another.
            return f"change {canonical.text(columns(row, CHANGE))}"
        case RunSpec():
            # By the signature of its change request it belongs to that one, and to no other.
            return f"spec {canonical.text(columns(row, SPEC) | {'change': content(row.change)})}"
        case RunRequest():
            return f"request {canonical.text(columns(row, OCCURRENCE) | {'spec': content(row.spec)})}"
        case AuditCheckpoint():
            return f"checkpoint {canonical.text(columns(row, CHECKPOINT))}"
        case Approval():
            said = {"approved": row.approved, "stage": row.stage, "digest": row.digest}
            return f"approval {canonical.text(by_person(row) | said)}"
        case StepDecision():
            decided = {"is_allowed": row.is_allowed, "run_request": row.run_request_id}
            return f"step {canonical.text(by_person(row) | decided | {'run': content(row.run_request)})}"
        case BreakGlass():
            return f"override {canonical.text(by_person(row) | {'until': row.until, 'digest': row.change.digest})}"


def columns(row: models.Model, names: Sequence[str]) -> dict[str, object]:
    return {name: getattr(row, name) for name in names}


def of_entry(digest: str) -> str:
    """Return what is signed for an audit entry: its digest covers its columns and all entries before it."""
    return f"entry {digest}"


def by_person(row: Approval | BreakGlass | StepDecision) -> dict[str, object]:
    return {"request": row.change_id, "by": row.by_id, "by_name": row.by_name, "reason": row.reason}
