"""The lock under which the runs of one environment are written."""

from __future__ import annotations

from django.db import connection

from flows.models import Environment

# First key of the advisory lock; any constant that nothing else uses.
MIRROR_LOCK = 0x6D6972


def mirror_lock(environment: Environment) -> None:
    """Serialize upserts of one environment: row locks do not exist yet for a run that two readers both discover."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [MIRROR_LOCK, environment.pk])
