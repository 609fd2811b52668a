"""The audit trail: append-only and chained, so that a rewrite shows."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from django.db import connection, models, transaction

from flows.access import Forbidden, Refused
from flows.fitting import plain, storable
from flows.models import Deployment
from flows.parameters import Invalid
from runs.actors import Actor
from runs.models import AuditEntry, Cancellation, Run, RunRequest

GENESIS = "0" * 64
DIGEST = re.compile("[0-9a-f]{64}")
# One writer at a time: a chain has one end. Any constant does, as long as nothing else locks it.
CHAIN_LOCK = 0x706F7274616C
CHAINED = [f.attname for f in AuditEntry._meta.concrete_fields if f.attname != "digest"]
LENGTHS = {f.attname: f.max_length for f in AuditEntry._meta.concrete_fields if f.max_length}


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
    columns = {
        "actor_kind": this.by.kind,
        "actor_id": this.by.id,
        "actor_name": this.by.name,
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
        "outcome": outcome,
        "message": message,
    }
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CHAIN_LOCK])
            # Through Postgres and back: it writes some numbers otherwise, and the digest must be of what it keeps.
            cursor.execute(
                "SELECT clock_timestamp(), %s::jsonb::text, %s::jsonb::text",
                [json.dumps(plain(this.before)), json.dumps(plain(after))],
            )
            now, kept_before, kept_after = cursor.fetchone()
        head = AuditEntry.objects.order_by("-sequence").values_list("sequence", "digest").first()
        sequence, previous = head or (0, GENESIS)
        entry = AuditEntry(
            sequence=sequence + 1,
            at=now,
            before=json.loads(kept_before),
            after=json.loads(kept_after),
            previous_digest=previous,
            **{column: storable(value)[: LENGTHS.get(column)] for column, value in columns.items()},
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
        this.subject_name or str(subject),
        environment,
    )


def digest(entry: AuditEntry) -> str:
    """SHA-256, in hexadecimal, over every column but itself; the digest of the entry before is one of them.

    Empty columns are left out, so that a column added later leaves the digests of older entries as they are.
    """
    columns = {name: getattr(entry, name) for name in CHAINED}
    columns["at"] = entry.at.astimezone(UTC).isoformat()
    filled = {name: value for name, value in columns.items() if value not in ("", None, {})}
    text = json.dumps(filled, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Verification:
    """`entries` sound ones from `first` on, the `head` digest, and the first broken link as a sentence, if any."""

    entries: int
    head: str
    broken: str = ""
    first: int = 1

    def __bool__(self) -> bool:
        return not self.broken

    @property
    def last(self) -> int:
        return self.first + self.entries - 1


def verify(*, up_to: int | None = None, at_most: int | None = None, known_head: str = "") -> Verification:
    """Walk the chain from its first entry, or its last `at_most` entries, to its end or `up_to` an entry.

    `known_head` is a digest noted earlier: an entry that has it must still be there. Without one, a chain whose end was
    cut off looks sound.
    """
    end = AuditEntry.objects.order_by("sequence").filter(**({"sequence__lte": up_to} if up_to is not None else {}))
    start = max((end.last() or AuditEntry(sequence=0)).sequence - at_most, 0) if at_most else 0
    entries = end.filter(sequence__gt=start)
    previous, sequence = GENESIS, start
    if start:
        previous = AuditEntry.objects.filter(sequence=start).values_list("digest", flat=True).first() or ""
    found = known_head in ("", GENESIS)

    def result(broken: str = "") -> Verification:
        return Verification(sequence - start, previous, broken, start + 1)

    for entry in entries.iterator(chunk_size=2000):
        if entry.sequence != sequence + 1:
            return result(f"#{sequence + 1} is missing: deleted, or never written.")
        if entry.previous_digest != previous:
            return result(f"#{entry.sequence} does not follow from the entry before it.")
        if digest(entry) != entry.digest:
            return result(f"#{entry.sequence} was changed after it was written.")
        previous, sequence = entry.digest, entry.sequence
        found = found or entry.digest == known_head
    if not found:
        return result(f"no entry has the digest {known_head} noted earlier: the trail was cut off or rewritten.")
    return result()
