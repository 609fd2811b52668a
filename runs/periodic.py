"""The periodic tasks as a table, kept as django-q2 schedules."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone
from django_q.brokers import Broker
from django_q.models import Schedule
from django_q.scheduler import scheduler

MINUTE = timedelta(minutes=1)
# Before it is asked again what is due: another process queues it, or it could not be queued.
SOON = timedelta(seconds=1)
PERIODIC: dict[str, timedelta] = {
    # Often: what is due again after an error or a kill waits at most this long.
    "runs.tasks.requeue_due": timedelta(seconds=5),
    "runs.tasks.advance_changes": timedelta(seconds=15),
    "runs.tasks.advance_chains": timedelta(seconds=15),
    # What was delivered at the commit of its fact is not delivered again; an event that failed is tried again.
    "runs.tasks.deliver_events": timedelta(seconds=10),
    # What is due is requested up to 30 s before: a worker has it then at its time.
    "runs.tasks.run_schedules": timedelta(seconds=10),
    "runs.tasks.sync_all": timedelta(seconds=30),
    "runs.tasks.pause_frozen_schedules": MINUTE,
    "runs.tasks.expire": MINUTE,
    "runs.tasks.escalate": MINUTE,
    "runs.tasks.check_schedules": MINUTE,
    "runs.tasks.check_owners": timedelta(minutes=5),
    "runs.tasks.evaluate_levels": MINUTE,
    "runs.tasks.compare_environments": MINUTE,
    "runs.tasks.report_outside_changes": MINUTE,
    "runs.tasks.report_outages": timedelta(seconds=30),
    "runs.tasks.maintain_audit": timedelta(hours=1),
    "runs.tasks.sweep_all": timedelta(hours=1),
}
# Advisory lock of the process that queues what is due; any constant that nothing else uses.
SCHEDULING = 7_218_003
NEXT = f"SELECT min(next_run) FROM {Schedule._meta.db_table}"


def sync_schedules() -> None:
    """Create, update and delete the schedules to match `PERIODIC`."""
    now = timezone.now()
    wanted: set[str] = set()
    for task, period in PERIODIC.items():
        # django-q2 knows whole minutes only: what runs more often has several schedules, evenly apart.
        minutes = max(period // MINUTE, 1)
        for part in range(max(MINUTE // period, 1)):
            name = f"{task.rpartition('.')[2]}, {part * period.total_seconds():.0f} s" if period < MINUTE else task
            columns = {"func": task, "schedule_type": Schedule.MINUTES, "minutes": minutes, "repeats": -1}
            # The next run of an existing schedule is kept, or every deploy would delay it.
            created = {**columns, "next_run": now + part * period}
            Schedule.objects.update_or_create(name=name, defaults=columns, create_defaults=created)
            wanted.add(name)
    Schedule.objects.exclude(name__in=wanted).delete()


def queue_due(broker: Broker) -> datetime:
    """Queue the periodic tasks that are due; return when the next one is. After a downtime each runs once."""
    if (first := next_due()) > timezone.now():
        return first
    # Every process does this: they skip what another is queueing, and never wait for it. A lock of the session, because
    # the scheduler would close a connection that is in a transaction.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [SCHEDULING])
        if cursor.fetchone() != (True,):
            return timezone.now() + SOON
    scheduler(broker=broker)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s)", [SCHEDULING])
    return max(next_due(), timezone.now() + SOON)


def next_due() -> datetime:
    """Return when the first periodic task is due; in a moment, if there is none yet."""
    with connection.cursor() as cursor:
        cursor.execute(NEXT)
        (first,) = cursor.fetchone() or (None,)
    return first or timezone.now() + SOON
