"""Writes the audit trail: the only code that adds to `AuditEntry`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, models, transaction

from flows.db_text import sanitize, strip_control
from flows.models import Deployment
from flows.parameters import Invalid
from runs.access.decisions import Forbidden
from runs.actors import Actor
from runs.audit.chain import GENESIS, digest
from runs.errors import Refused
from runs.models import AuditCheckpoint, AuditEntry, Cancellation, Run, RunRequest

# One writer at a time: a chain has one end. Any constant does, as long as nothing else locks it.
CHAIN_LOCK = 0x706F7274616C
LENGTHS = {f.attname: f.max_length for f in AuditEntry._meta.concrete_fields if f.max_length}


@dataclass
class Act:
    """What a verb tells about itself while it runs."""

    verb: str
    subject: models.Model | None
    by: Actor
    reason: str = ""
    ticket: str = ""
    subject_kind: str = ""
    subject_id: str = ""
    subject_name: str = ""
    environment: str = ""
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    is_repeat: bool = False  # the same act came twice, and the first one left the entry
    refusal: str = ""  # the act was to note a refusal


@contextmanager
def act(verb: str, subject: models.Model | None, *, by: Actor, reason: str = "", **names: Any) -> Iterator[Act]:
    """Run a verb in one transaction that ends with exactly one audit entry, refusals and failures included.

    `names` may give a `ticket`, and `subject_kind`, `subject_id`, `subject_name` and `environment` for a subject
    without a row.
    """
    this = Act(verb, subject, by, reason, **names)
    try:
        with transaction.atomic():
            yield this
            if this.refusal:
                record(this, AuditEntry.Outcome.REFUSED, this.refusal)
            elif not this.is_repeat:
                record(this, AuditEntry.Outcome.DONE)
    except (Refused, Invalid) as refusal:
        # The verb's own transaction is rolled back; that it was tried must stay.
        record(this, AuditEntry.Outcome.REFUSED, str(refusal), refusal)
        raise
    except Exception as error:
        record(this, AuditEntry.Outcome.FAILED, f"{type(error).__name__} in the portal; its log has the details.")
        raise


def record(this: Act, outcome: AuditEntry.Outcome, message: str = "", refusal: Exception | None = None) -> AuditEntry:
    """Append one entry."""
    after = dict(this.after)
    if isinstance(refusal, Refused):
        after["refused"] = {"code": refusal.code, **({"data": refusal.data} if refusal.data else {})}
    if isinstance(refusal, Invalid):
        # Names and codes only: the values may be secret.
        errors = [{"field": error.field, "code": error.code} for error in refusal.errors]
        after["refused"] = {"code": refusal.code, "data": {"errors": errors}}
    if isinstance(refusal, Forbidden):
        after["decision"] = {"code": refusal.decision.code, "grants": [g.pk for g in refusal.decision.grants]}
    this.after = after
    return append([this], outcome, message)[0]


def record_many(acts: Sequence[Act]) -> None:
    """Append an entry for each of these, which are done, and take the end of the chain once for all of them."""
    if acts:
        append(acts, AuditEntry.Outcome.DONE)


def append(acts: Sequence[Act], outcome: AuditEntry.Outcome, message: str = "") -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    with transaction.atomic():
        number, moments = to_json(acts)
        sequence, previous = head() or head_of_what_was_retired() or (0, GENESIS)
        for this, (now, before, after) in zip(acts, moments, strict=True):
            sequence += 1
            entry = AuditEntry(sequence=sequence, at=now, before=before, after=after, previous_digest=previous)
            entry.transaction = number
            for column, value in names_of(this, outcome, message).items():
                setattr(entry, column, sanitize(value)[: LENGTHS.get(column)])
            entry.digest = previous = digest(entry)
            entries.append(entry)
        AuditEntry.objects.bulk_create(entries, batch_size=500)
    return entries


def head() -> tuple[int, str] | None:
    return AuditEntry.objects.order_by("-sequence").values_list("sequence", "digest").first()


def head_of_what_was_retired() -> tuple[int, str] | None:
    """Where the chain goes on when nothing is left of it but a checkpoint."""
    return AuditCheckpoint.objects.order_by("-last").values_list("last", "digest").first()


def to_json(acts: Sequence[Act]) -> tuple[int, list[tuple[Any, Any, Any]]]:
    """Wait for the end of the chain; then the transaction's id, and time, before and after of each act as kept.

    Postgres writes some numbers otherwise than they were, and the digest must be of what it keeps.
    """
    columns = [json.dumps([strip_control(getattr(this, name)) for this in acts]) for name in ("before", "after")]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s), pg_current_xact_id()::text::bigint", [CHAIN_LOCK])
        _, number = cursor.fetchone()
        cursor.execute(
            "SELECT clock_timestamp(), b::text, a::text FROM ROWS FROM "
            "(jsonb_array_elements(%s::jsonb), jsonb_array_elements(%s::jsonb)) WITH ORDINALITY AS told (b, a, place) "
            "ORDER BY place",
            columns,
        )
        rows = cursor.fetchall()
    # Whatever order the clock was read in, an entry is never older than the one before it.
    moments = sorted(now for now, _, _ in rows)
    return number, [(now, json.loads(b), json.loads(a)) for now, (_, b, a) in zip(moments, rows, strict=True)]


def names_of(this: Act, outcome: AuditEntry.Outcome, message: str) -> dict[str, str]:
    """The columns of an entry that are texts."""
    kind, pk, name, environment = describe(this)
    return {
        "actor_kind": this.by.kind,
        "actor_id": this.by.id,
        "actor_name": this.by.name,
        "on_behalf_of": this.by.on_behalf_of,
        "channel": this.by.channel,
        "token_id": this.by.token_id,
        "address": this.by.address,
        "user_agent": this.by.user_agent,
        "verb": this.verb,
        "subject_kind": kind,
        "subject_id": pk,
        "subject_name": name,
        "environment": environment,
        "reason": this.reason,
        "ticket": this.ticket,
        "outcome": outcome,
        "message": message,
    }


def describe(this: Act) -> tuple[str, str, str, str]:
    """Kind, id, name and environment of an act's subject."""
    subject = this.subject
    if subject is None:
        return this.subject_kind, this.subject_id, this.subject_name, this.environment
    if isinstance(subject, Cancellation):
        subject = subject.run
    environment = this.environment
    if isinstance(subject, Deployment | Run | RunRequest) and not environment:
        environment = subject.environment.slug
    return (
        this.subject_kind or subject._meta.model_name or "",
        this.subject_id or str(subject.pk or ""),
        this.subject_name or str(subject),
        environment,
    )
