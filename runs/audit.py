"""The audit trail: append-only and chained, so that a rewrite shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models, transaction
from flows.parameters import Invalid

from flows.access import Forbidden, Refused
from flows.models import Deployment
from runs.actors import Actor
from runs.models import AuditEntry, Cancellation, Run, RunRequest

GENESIS = "0" * 64
# One writer at a time: a chain has one end. Any constant does, as long as nothing else locks it.
CHAIN_LOCK = 0x706F7274616C
CHAINED = [f.attname for f in AuditEntry._meta.concrete_fields if f.attname != "digest"]


@dataclass
class Act:
    """What a verb tells about itself while it runs."""

    verb: str
    subject: models.Model | None
    by: Actor
    reason: str = ""
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

    `names` may give `subject_kind`, `subject_id`, `subject_name` and `environment` for a subject without a row.
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
    """Append one entry. The only code that writes `AuditEntry`."""
    after = dict(this.after)
    if isinstance(refusal, Forbidden):
        after["decision"] = {"code": refusal.decision.code, "grants": [g.pk for g in refusal.decision.grants]}
    kind, pk, name, environment = describe(this)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CHAIN_LOCK])
            cursor.execute("SELECT clock_timestamp()")
            now = cursor.fetchone()[0]
        head = AuditEntry.objects.order_by("-sequence").first()
        entry = AuditEntry(
            sequence=head.sequence + 1 if head else 1,
            at=now,
            actor_kind=this.by.kind,
            actor_id=this.by.id,
            actor_name=this.by.name,
            channel=this.by.channel,
            token_id=this.by.token_id,
            address=this.by.address,
            user_agent=this.by.user_agent,
            verb=this.verb,
            subject_kind=kind,
            subject_id=pk,
            subject_name=name[:700],
            environment=environment,
            reason=storable(this.reason),
            before=plain(this.before),
            after=plain(after),
            outcome=outcome,
            message=storable(message),
            previous_digest=head.digest if head else GENESIS,
        )
        entry.digest = digest(entry)
        entry.save(force_insert=True)
    return entry


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
        this.subject_name or storable(str(subject)),
        environment,
    )


def storable(text: str) -> str:
    """Postgres keeps no NUL bytes; what was tried is recorded all the same."""
    return text.replace("\x00", "\ufffd")


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """What JSON keeps of it, so that the digest of a row read back is the digest of the row written."""
    result: dict[str, Any] = json.loads(json.dumps(values, cls=DjangoJSONEncoder).replace("\\u0000", "\\ufffd"))
    return result


def digest(entry: AuditEntry) -> str:
    """SHA-256, in hexadecimal, over every column but itself; the digest of the entry before is one of them."""
    columns = {name: getattr(entry, name) for name in CHAINED}
    columns["at"] = entry.at.astimezone(UTC).isoformat()
    text = json.dumps(columns, sort_keys=True, separators=(",", ":"), ensure_ascii=False, cls=DjangoJSONEncoder)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Verification:
    """`entries` read, the `head` digest, and the first broken link as a sentence, or an empty string."""

    entries: int
    head: str
    broken: str = ""

    def __bool__(self) -> bool:
        return not self.broken


def verify() -> Verification:
    """Walk the whole chain from its first entry."""
    previous, sequence = GENESIS, 0
    for entry in AuditEntry.objects.order_by("sequence").iterator(chunk_size=5000):
        if entry.sequence != sequence + 1:
            return Verification(sequence, previous, f"#{sequence + 1} is missing: deleted, or never written.")
        if entry.previous_digest != previous:
            return Verification(sequence, previous, f"#{entry.sequence} does not follow from the entry before it.")
        if digest(entry) != entry.digest:
            return Verification(sequence, previous, f"#{entry.sequence} was changed after it was written.")
        previous, sequence = entry.digest, entry.sequence
    return Verification(sequence, previous)
