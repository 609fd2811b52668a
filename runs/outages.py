"""Find when the Prefect of an environment is unreachable, and when it is back. The only code that writes `Outage`.

From what the checks recorded: nothing here waits for Prefect. A check that fails once is no outage.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from flows.models import Environment, Health
from runs import events
from runs.models import Outage, RunEvent

# Checks are 30 s apart: at least two of them have failed.
CONFIRMED_AFTER = timedelta(seconds=50)
KEPT = timedelta(days=90)
FAILING = (Health.State.DOWN, Health.State.REFUSED)


def report() -> None:
    """Record the outages that began or ended since the last call, each with its event."""
    now = timezone.now()
    places = Environment.objects.filter(is_active=True).select_related("server__health").order_by("pk")
    known = {row.environment_id: row for row in Outage.objects.filter(ended_at=None)}
    for place in places:
        health, outage = getattr(place.server, "health", None), known.pop(place.pk, None)
        if health is None:
            continue
        if outage and health.state == Health.State.UP:
            end(outage, place, health.changed_at or now)
        elif outage is None and health.state in FAILING and (health.changed_at or now) <= now - CONFIRMED_AFTER:
            begin(place, health)
    # Of environments that were disabled meanwhile: nobody is waiting for them.
    Outage.objects.filter(pk__in=[row.pk for row in known.values()]).update(ended_at=now)
    Outage.objects.filter(ended_at__lt=now - KEPT).delete()


@transaction.atomic
def begin(environment: Environment, health: Health) -> None:
    # One at a time: of two processes the second finds the outage of the first.
    Environment.objects.select_for_update(no_key=True).get(pk=environment.pk)
    if Outage.objects.filter(environment=environment, ended_at=None).exists():
        return
    made = Outage.objects.create(
        environment=environment, message=health.message, began_at=health.changed_at or timezone.now()
    )
    facts = {"outage": made.pk, "since": made.began_at.isoformat()}
    events.record(RunEvent.Kind.ENVIRONMENT_DOWN, environment=environment, data=facts)


@transaction.atomic
def end(outage: Outage, environment: Environment, at: datetime) -> None:
    # One UPDATE with a condition: of two processes the second writes no event.
    if Outage.objects.filter(pk=outage.pk, ended_at=None).update(ended_at=at):
        facts = {"outage": outage.pk, "since": outage.began_at.isoformat(), "until": at.isoformat()}
        events.record(RunEvent.Kind.ENVIRONMENT_BACK, environment=environment, data=facts)
