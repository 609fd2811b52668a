"""Count the messages that a hook refuses, and record them in the audit trail: the only code that writes `HookRefusal`.

Anyone who knows the address of a hook can send to it. So there is one row for each reason and day, and an entry in the
trail at most once a minute for each, with the number of messages since the last one.
"""

from __future__ import annotations

from datetime import UTC, timedelta

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from runs import audit
from runs.actors import Actor
from runs.automation import hooks
from runs.errors import Refused
from runs.models import AuditEntry, Hook, HookRefusal

RECORDED_EVERY = timedelta(minutes=1)
COUNT = """
    INSERT INTO runs_hookrefusal AS known
        (hook_id, day, code, number, last_at, last_address, recorded_number)
    VALUES (%(hook)s, %(day)s, %(code)s, 1, %(now)s, %(address)s, 0)
    ON CONFLICT (hook_id, day, code) DO UPDATE SET
        number = known.number + 1, last_at = excluded.last_at, last_address = excluded.last_address
    RETURNING id
"""


def note(hook: Hook, refusal: Refused, by: Actor) -> None:
    """Count a refused message, and record it if the trail does not say so yet in this minute."""
    now = timezone.now()
    with transaction.atomic():
        with connection.cursor() as cursor:
            today, place = now.astimezone(UTC).date(), by.address[:64]
            cursor.execute(COUNT, {"hook": hook.pk, "day": today, "code": refusal.code, "now": now, "address": place})
            (pk,) = cursor.fetchone()
        # The row is locked by the count: of two messages at once, one records both.
        row = HookRefusal.objects.filter(Q(recorded_at=None) | Q(recorded_at__lte=now - RECORDED_EVERY), pk=pk).first()
        if row is None:
            return
        this = audit.Act("hook.refuse", hook, by, environment=hooks.place_of(hook))
        this.after = {"messages": row.number - row.recorded_number, "of_day": row.number}
        audit.record(this, AuditEntry.Outcome.REFUSED, refusal.message, refusal)
        row.recorded_at, row.recorded_number = now, row.number
        row.save(update_fields=["recorded_at", "recorded_number"])
