"""Write the audit trail: the only code that adds to `AuditEntry`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import connection, models, transaction

from flows.db_text import sanitize, strip_control
from flows.models import Deployment, GlobalLimit, WorkPool, WorkQueue
from flows.parameters import Invalid
from runs.access.decisions import Forbidden
from runs.actors import Actor
from runs.audit import signatures
from runs.audit.chain import GENESIS, digest
from runs.errors import Refused
from runs.models import AuditEntry, ChangeRequest, Run, RunRequest

# Key of the advisory lock on the end of the chain: one writer at a time. Any constant that nothing else uses.
CHAIN_LOCK = 0x706F7274616C
LENGTHS = {f.attname: f.max_length for f in AuditEntry._meta.concrete_fields if f.max_length}

# Subjects whose environment an entry names by itself.
WITH_ENVIRONMENT = (Deployment, WorkPool, WorkQueue, GlobalLimit, Run, RunRequest, ChangeRequest)


@dataclass
class Act:
    """The facts of one action, filled in while it runs."""

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
    is_repeat: bool = False  # the same action came twice, and the first one is in the trail
    refusal: str = ""  # the action recorded a refusal and commits all the same


@contextmanager
def act(verb: str, subject: models.Model | None, *, by: Actor, reason: str = "", **names: Any) -> Iterator[Act]:
    """Run an action in one transaction that ends with exactly one audit entry, also when it is refused or fails.

    `names` may give a `ticket`, and `subject_kind`, `subject_id`, `subject_name` and `environment` for a subject
    without a row.
    """
    this = Act(verb, subject, by, reason, **names)
    try:
        with transaction.atomic():
            yield this
            # Last in the transaction: the lock on the end of the chain is held until the commit.
            if this.refusal:
                record(this, AuditEntry.Outcome.REFUSED, this.refusal)
            elif not this.is_repeat:
                record(this, AuditEntry.Outcome.DONE)
    except (Refused, Invalid) as refusal:
        # The action is rolled back; that it was attempted is recorded in another transaction.
        record(this, AuditEntry.Outcome.REFUSED, str(refusal), refusal)
        # Who calls services in the name of a program then knows that the trail has it.
        refusal.is_recorded = True
        raise
    except Exception as error:
        record(this, AuditEntry.Outcome.FAILED, f"{type(error).__name__} in the portal. See the portal's log.")
        raise


def record(this: Act, outcome: AuditEntry.Outcome, message: str = "", refusal: Exception | None = None) -> AuditEntry:
    """Append one entry; a refusal adds its code and data to `after`."""
    # The code, for programs and statistics: the message is a sentence and may be reworded.
    after = dict(this.after)
    if this.by.agent and this.by.call:
        after["agent"] = {"name": this.by.agent.name, **asdict(this.by.call)}
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
    """Append an entry for each of these completed actions, locking the end of the chain once."""
    if acts:
        append(acts, AuditEntry.Outcome.DONE)


def append(acts: Sequence[Act], outcome: AuditEntry.Outcome, message: str = "") -> list[AuditEntry]:
    """Append chained and signed entries at the end of the trail; return them."""
    entries: list[AuditEntry] = []
    # No savepoint inside the transaction of an act: an entry that cannot be written undoes the act too.
    with transaction.atomic(savepoint=False):
        # 1. The lock, the end of the chain, and each act as it is stored.
        number, sequence, previous, moments = begin(acts)
        # 2. Each entry has the digest of the one before.
        for this, (now, before, after) in zip(acts, moments, strict=True):
            sequence += 1
            entry = AuditEntry(sequence=sequence, at=now, before=before, after=after, previous_digest=previous)
            entry.transaction = number
            for column, value in names_of(this, outcome, message).items():
                # Cut, not refused: an entry with a shortened text is better than none.
                setattr(entry, column, sanitize(value)[: LENGTHS.get(column)])
            entry.digest = previous = digest(entry)
            entry.signature = signatures.sign(entry)
            entries.append(entry)
        AuditEntry.objects.bulk_create(entries, batch_size=500)
    return entries


def begin(acts: Sequence[Act]) -> tuple[int, int, str, list[tuple[Any, Any, Any]]]:
    """Lock the end of the chain; return the transaction id, the last sequence and digest, and each act as stored.

    That is its time, before and after: jsonb rewrites some numbers, and the digest must cover what is stored, so
    Postgres converts the values first.
    """
    columns = [json.dumps([strip_control(getattr(this, name)) for this in acts]) for name in ("before", "after")]
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM audit_begin(%s, %s::jsonb, %s::jsonb)", [CHAIN_LOCK, *columns])
        rows = cursor.fetchall()
    number, sequence, digest_before = rows[0][:3]
    # An entry is never older than the one before it, in whatever order the rows were evaluated.
    times = sorted(row[3] for row in rows)
    stored = [(at, json.loads(b), json.loads(a)) for at, (*_, b, a) in zip(times, rows, strict=True)]
    return number, sequence or 0, digest_before or GENESIS, stored


def names_of(this: Act, outcome: AuditEntry.Outcome, message: str) -> dict[str, str]:
    """Return the text columns of an entry."""
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
    """Return kind, id, name and environment of the subject."""
    subject = this.subject
    if subject is None:
        return this.subject_kind, this.subject_id, this.subject_name, this.environment
    environment = this.environment
    if isinstance(subject, WITH_ENVIRONMENT) and not environment:
        # A change of rules can concern several.
        environment = subject.environment.slug if subject.environment else ""
    return (
        this.subject_kind or subject._meta.model_name or "",
        this.subject_id or str(subject.pk or ""),
        this.subject_name or str(subject),
        environment,
    )
