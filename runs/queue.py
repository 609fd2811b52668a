"""The queue of background tasks: the only code that writes `QueuedTask`.

A task that waits is not queued again, and the same task never runs twice at the same time: the queue is never longer
than the open work. What a person waits for is taken first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django_q.tasks import async_task

from flows import canonical
from runs.models import QueuedTask

CHANNEL = "portal_queue"


class Priority(IntEnum):
    """What is taken first. `runs.cluster` keeps a process free for everything up to `FOLLOW_UP`."""

    ACT = 1  # what a person asked Prefect for
    FOLLOW_UP = 2
    NOTIFY = 3
    SYNC = 4
    REFRESH = 5
    MAINTAIN = 6


# Every task there is: a name that is not here is not run, even if it is in the table.
TASKS: dict[str, Priority] = {
    "runs.tasks.launch": Priority.ACT,
    "runs.tasks.launch_backfill": Priority.ACT,
    "runs.tasks.carry_out": Priority.ACT,
    # These only read and write Postgres, and queue what is due.
    "runs.tasks.recheck": Priority.ACT,
    "runs.tasks.requeue_due": Priority.ACT,
    "runs.tasks.advance_changes": Priority.ACT,
    "runs.tasks.run_schedules": Priority.ACT,
    "runs.tasks.advance_chain": Priority.ACT,
    "runs.tasks.advance_chains": Priority.ACT,
    "runs.tasks.follow_up": Priority.FOLLOW_UP,
    "runs.tasks.check_definition": Priority.FOLLOW_UP,
    "runs.tasks.deliver_events": Priority.NOTIFY,
    "runs.tasks.fire_rules": Priority.NOTIFY,
    "runs.tasks.group_failures": Priority.NOTIFY,
    "runs.tasks.evaluate_levels": Priority.NOTIFY,
    "runs.tasks.send_deliveries": Priority.NOTIFY,
    "runs.tasks.send_reset_link": Priority.NOTIFY,
    "runs.tasks.expire": Priority.NOTIFY,
    "runs.tasks.escalate": Priority.NOTIFY,
    "runs.tasks.check_schedules": Priority.NOTIFY,
    "runs.tasks.check_owners": Priority.NOTIFY,
    "runs.tasks.report_outside_changes": Priority.NOTIFY,
    "runs.tasks.report_outages": Priority.NOTIFY,
    # An administrator waits for it; it is not among what comes first, because an address may not answer for seconds.
    "runs.tasks.test_connection": Priority.NOTIFY,
    "runs.tasks.pause_frozen_schedules": Priority.NOTIFY,
    "runs.tasks.check": Priority.SYNC,
    "runs.tasks.sync": Priority.SYNC,
    "runs.tasks.sync_all": Priority.SYNC,
    "runs.tasks.refresh": Priority.REFRESH,
    "runs.tasks.compare_environments": Priority.MAINTAIN,
    "runs.tasks.export_audit": Priority.MAINTAIN,
    "runs.tasks.maintain_audit": Priority.MAINTAIN,
    "runs.tasks.sweep": Priority.MAINTAIN,
    "runs.tasks.sweep_all": Priority.MAINTAIN,
}

# A task whose process is gone is due again this long after it was taken. Less than the 30 s that nothing may wait
# longer, and long enough that a task that kills its own process does not do so all the time.
LEASE = timedelta(seconds=15)
# No task runs longer, because `runs.cluster` ends its process before: for a process that still holds its lock
# because its host is unreachable.
LONGEST = timedelta(seconds=90)

# Advisory locks: while a task is taken, and with its key as second number while it runs.
TAKING = 7_218_001
RUNNING = 7_218_002

# FOR SHARE is what makes skipping safe: the task that waits cannot be taken before this transaction has ended, so it
# will see what this transaction wrote. SKIP LOCKED: a row that is being taken right now is not waiting any more. Unlike
# a unique index, it never waits for another transaction, which may hold the end of the audit trail: two transactions
# that queue the same task at the same moment leave two rows, and who takes one deletes the other.
ENQUEUE = """
    WITH waiting AS MATERIALIZED (
        SELECT id FROM runs_queuedtask
        WHERE task = %(task)s AND args = %(args)s AND taken_at IS NULL
        LIMIT 1 FOR SHARE SKIP LOCKED
    ), queued AS (
        INSERT INTO runs_queuedtask (task, args, priority)
        SELECT %(task)s, %(args)s, %(priority)s WHERE NOT EXISTS (SELECT FROM waiting)
    )
    SELECT pg_notify(%(channel)s, '')
"""

# Whether `take` may find something. Each process asks this every second, and after each notification: a plain
# statement costs far less than `take` does.
MAY_BE_DUE = """
    SELECT EXISTS (
        SELECT FROM runs_queuedtask
        WHERE priority <= %s AND (taken_at IS NULL OR taken_at < statement_timestamp() - %s * interval '1 second')
    )
"""

# What is held by a session of this database. A session that ends, by a kill too, releases its locks at once.
HELD = """
    SELECT objid FROM pg_locks
    WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True, slots=True)
class Task:
    """A task that this session has taken."""

    pk: int
    name: str
    args: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name.rpartition('.')[2]}({', '.join(map(str, self.args))})"


def enqueue(task: str, *args: int | str) -> None:
    """Queue `task`, one of `TASKS`, as part of the current transaction, unless the same one is waiting.

    A rollback removes it and nothing runs before the commit. A task gets primary keys and reads its rows itself: it can
    run late, and twice.
    """
    # By `runs.broker`, which calls `insert`.
    async_task(task, *args)


def insert(task: str, args: tuple[int | str, ...]) -> None:
    """Insert the row of a task, unless the same one is waiting. Raises `KeyError` for a name that is not in `TASKS`."""
    row: dict[str, str | int] = {"task": task, "args": canonical.text(args), "priority": TASKS[task]}
    with connection.cursor() as cursor:
        cursor.execute(ENQUEUE, row | {"channel": CHANNEL})


def take(*, up_to: Priority = Priority.MAINTAIN, by_age: bool = False) -> Task | None:
    """Take the most urgent task that is due, or the oldest; None when there is none up to that priority.

    This session holds the task until `finish`, or until it ends.
    """
    with connection.cursor() as cursor:
        cursor.execute(MAY_BE_DUE, [int(up_to), LEASE.total_seconds()])
        if cursor.fetchone() != (True,):
            return None
    order = ("pk",) if by_age else ("priority", "pk")
    with transaction.atomic(), connection.cursor() as cursor:
        # 1. One taker at a time, or two could take two rows of the same task. It takes a millisecond.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [TAKING])
        # 2. Not the rows that an open transaction relies on (see ENQUEUE), nor tasks of which another row is taken.
        is_due = Q(taken_at=None) | Q(taken_at__lt=Now() - LONGEST) | Q(pk__in=find_lost())
        same = QueuedTask.objects.filter(task=OuterRef("task"), args=OuterRef("args")).exclude(pk=OuterRef("pk"))
        is_running = Exists(same.filter(taken_at__gte=Now() - LONGEST))
        free = QueuedTask.objects.filter(is_due, ~is_running, priority__lte=up_to)
        row = free.order_by(*order).select_for_update(skip_locked=True).first()
        if row is None:
            return None
        # 3. Rows of the same task that are committed by now: this run does their work too.
        twins = QueuedTask.objects.filter(is_due, task=row.task, args=row.args).exclude(pk=row.pk)
        unlocked = twins.select_for_update(skip_locked=True).values_list("pk", flat=True)
        QueuedTask.objects.filter(pk__in=list(unlocked)).delete()
        QueuedTask.objects.filter(pk=row.pk).update(taken_at=Now())
        # 4. Before the commit, so that no other session ever sees it taken and not held. "try": after `LONGEST` the
        #    session before may still hold it.
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [RUNNING, lock_number(row.pk)])
    return Task(row.pk, row.task, tuple(json.loads(row.args)))


def finish(pk: int) -> None:
    """Delete a task that has ended, whatever its result."""
    QueuedTask.objects.filter(pk=pk).delete()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [RUNNING, lock_number(pk)])


def find_lost() -> list[int]:
    """Return the keys of the tasks that were taken longer than `LEASE` ago by a session that is gone."""
    old = list(QueuedTask.objects.filter(taken_at__lt=Now() - LEASE).values_list("pk", flat=True))
    if not old:
        return []
    with connection.cursor() as cursor:
        cursor.execute(HELD, [RUNNING])
        held = {number for (number,) in cursor.fetchall()}
    return [pk for pk in old if lock_number(pk) not in held]


def lock_number(pk: int) -> int:
    """Return the number of a task's advisory lock, which has 31 bits."""
    return pk % 2**31
