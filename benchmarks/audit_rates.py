"""Fills the audit trail of an empty database, and measures; `benchmarks.audit` starts one and calls this.

The old way, one model instance and one `json.dumps` an entry, is measured beside it: the ratio says more than rates,
which depend on the machine.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()

from django.core.management import call_command  # noqa: E402  (Django must be set up before)
from django.db import connection, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from runs import audit  # noqa: E402
from runs.actors import Actor  # noqa: E402
from runs.audit import signatures  # noqa: E402
from runs.models import AuditEntry  # noqa: E402

PROMISED = 50_000
ONE_BY_ONE, IN_BATCHES, BATCH = 500, 4_000, 200
USUAL = {
    "actor_kind": "person",
    "channel": "admin",
    "address": "192.0.2.17",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "verb": "request.submit",
    "subject_kind": "runrequest",
    "subject_name": "crm-data-ingestion/crm-data-ingestion",
    "environment": "prod",
    "outcome": "done",
}


@transaction.atomic
def fill(entries: int) -> None:
    """Entries as the verbs write them, with digests that fit, quicker than by the verbs."""
    began, previous = timezone.now() - timedelta(days=90), audit.GENESIS
    with connection.cursor() as cursor:
        # A new entry must carry the current time; these are of the last 90 days.
        cursor.execute("ALTER TABLE runs_auditentry DISABLE TRIGGER next_entry")
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        (current,) = cursor.fetchone()
    for first in range(1, entries + 1, 2000):
        batch = []
        for number in range(first, min(first + 2000, entries + 1)):
            entry = AuditEntry(
                sequence=number,
                at=began + timedelta(seconds=7 * number, microseconds=number),
                actor_id=str(number % 40),
                actor_name=f"person{number % 40}",
                subject_id=str(number),
                reason=f"Month end “close” {number}",
                before={"state": "waiting", "digest": "ab" * 32},
                after={"parameters": {"month": "2026-10", "rows": number, "rate": number / 7}, "state": "approved"},
                previous_digest=previous,
                transaction=current,
                **USUAL,
            )
            entry.digest = previous = audit.digest(entry)
            entry.signature = signatures.sign(entry)
            batch.append(entry)
        AuditEntry.objects.bulk_create(batch)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE runs_auditentry ENABLE ALWAYS TRIGGER next_entry")


def rate(what: str, count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    found = count / (time.perf_counter() - began)
    print(f"{what:24} {found:10,.0f} entries a second")
    return found


def verify() -> None:
    verification = audit.verify()
    if not verification:
        sys.exit(verification.broken)


def verify_as_before(entries: int) -> None:
    for entry in AuditEntry.objects.order_by("sequence")[:entries].iterator(chunk_size=2000):
        if audit.digest(entry) != entry.digest:
            sys.exit(f"#{entry.sequence} is not sound.")


def write() -> None:
    for number in range(ONE_BY_ONE):
        with audit.act("grant.give", None, by=Actor.system("bench"), subject_name=str(number)):
            pass


def write_batches() -> None:
    for first in range(0, IN_BATCHES, BATCH):
        acts = [
            audit.Act("run.appeared", None, Actor.system("bench"), subject_name=str(number))
            for number in range(first, first + BATCH)
        ]
        with transaction.atomic():
            audit.record_many(acts)


def main(entries: int) -> None:
    call_command("migrate", verbosity=0)
    fill(entries)
    verify()  # once for the caches
    best = max(rate("verified", entries, verify) for _ in range(3))
    few = max(entries // 10, 1)
    before = rate("verified as before", few, lambda: verify_as_before(few))
    print(f"{best / before:.1f} times as fast as before; {PROMISED:,} a second are promised")
    rate("written one by one", ONE_BY_ONE, write)
    rate(f"written {BATCH} at a time", IN_BATCHES, write_batches)


if __name__ == "__main__":
    main(int(sys.argv[1]))
