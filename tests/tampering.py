"""Attempts to tamper, and what must come of each: by its name in tests/expectations/tamper.json."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from runs import audit
from runs.audit import Verification
from runs.models import AuditEntry, RunRequest
from tests.expectations import load

# area -> name of the attempt -> what must come of it
EXPECTED: dict[str, dict[str, str]] = load("tamper")
REFUSED = "refused by the database"
# What verification says of a broken chain, as one word.
BREAKS = {
    r"#(\d+) was changed after it was written": "changed",
    r"#(\d+) is missing": "missing",
    r"#(\d+) does not follow": "not following",
    r"#(\d+) is not signed": "not signed",
    r"#(\d+) to #\d+ are gone, and their checkpoint is not signed": "gone with a forged checkpoint",
    r"#(\d+) to #\d+ are gone": "gone without an entry",
}


def outcome_of(area: str, name: str) -> str:
    return EXPECTED[area][name]


def refused(area: str, name: str, write: Callable[[], object], why: str | None = None) -> None:
    """The database refuses this attempt, with a message that matches `why`."""
    assert EXPECTED[area][name] == REFUSED
    with pytest.raises(DatabaseError, match=why), transaction.atomic():
        write()


def found(verification: Verification, *, noted: str = "") -> str:
    """What verification found, as tamper.json says it."""
    for pattern, word in BREAKS.items():
        if match := re.match(pattern, verification.broken):
            return f"verify finds #{match[1]} {word}"
    if noted and noted in verification.broken:
        return "verify finds the noted head gone"
    return f"verify finds {verification.broken or 'nothing'}"


def forge_entry(run_request: RunRequest, user: User, verb: str) -> None:
    """Add an entry as a person who can write to the table and has read our code: chained, and signed with a guess."""
    last = AuditEntry.objects.latest("sequence")
    entry = AuditEntry(
        sequence=last.sequence + 1,
        at=timezone.now(),
        actor_kind="person",
        actor_name=user.username,
        channel="admin",
        verb=verb,
        subject_kind="runrequest",
        subject_id=str(run_request.pk),
        after={"digest": run_request.change.digest},
        outcome="done",
        previous_digest=last.digest,
        signature=last.signature,
    )
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp(), pg_current_xact_id()::text::bigint")
        entry.at, entry.transaction = cursor.fetchone()
        entry.digest = audit.digest(entry)
        entry.save(force_insert=True)
