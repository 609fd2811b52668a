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
from django_q.tasks import async_task

from flows import canonical

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

# Lost is what was taken longer than `LEASE` ago by a session that is gone: one that ends, by a kill too, releases its
# locks at once. What a session finishes right now is locked by its DELETE.
IS_DUE = """(
    taken_at IS NULL
    OR taken_at < statement_timestamp() - %(longest)s * interval '1 second'
    OR taken_at < statement_timestamp() - %(lease)s * interval '1 second' AND id %% 2147483648 NOT IN (
        SELECT objid::bigint FROM pg_locks
        WHERE locktype = 'advisory' AND classid = %(running)s AND objsubid = 2
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
)"""

# 1. The most urgent row that is due, or the oldest. Not the rows that an open transaction relies on (see ENQUEUE), nor
#    tasks of which another row is taken.
# 2. Other rows of the same task that are committed by now are deleted: this run does their work too.
# 3. The lock before the commit, so that no other session ever sees the row taken and not held. "try": after `LONGEST`
#    the session before may still hold it.
TAKE = f"""
    WITH first AS MATERIALIZED (
        SELECT id, task, args FROM runs_queuedtask AS found
        WHERE {IS_DUE} AND priority <= %(up_to)s AND NOT EXISTS (
            SELECT FROM runs_queuedtask AS same
            WHERE same.task = found.task AND same.args = found.args AND same.id <> found.id
            AND same.taken_at >= statement_timestamp() - %(longest)s * interval '1 second'
        )
        ORDER BY CASE WHEN %(by_age)s THEN 0 ELSE priority END, id
        LIMIT 1 FOR UPDATE SKIP LOCKED
    ), twins AS MATERIALIZED (
        SELECT id FROM runs_queuedtask
        WHERE {IS_DUE} AND (task, args) = (SELECT task, args FROM first) AND id <> (SELECT id FROM first)
        FOR UPDATE SKIP LOCKED
    ), deleted AS (
        DELETE FROM runs_queuedtask WHERE id IN (SELECT id FROM twins)
    )
    UPDATE runs_queuedtask AS taken SET taken_at = statement_timestamp() FROM first WHERE taken.id = first.id
    RETURNING taken.id, taken.task, taken.args,
        pg_try_advisory_lock(%(running)s, (taken.id %% 2147483648)::integer)
"""

# In this order: a row that can be seen, and is not locked, is held.
FINISH = """
    WITH deleted AS (DELETE FROM runs_queuedtask WHERE id = %(id)s RETURNING id)
    SELECT pg_advisory_unlock(%(running)s, (%(id)s %% 2147483648)::integer) FROM (SELECT count(*) FROM deleted) AS done
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
    numbers = {"longest": LONGEST.total_seconds(), "lease": LEASE.total_seconds(), "running": RUNNING}
    with transaction.atomic(), connection.cursor() as cursor:
        # One taker at a time, or two could take two rows of the same task. It takes a millisecond.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [TAKING])
        cursor.execute(TAKE, numbers | {"up_to": int(up_to), "by_age": by_age})
        row = cursor.fetchone()
    if row is None:
        return None
    pk, name, args, _ = row
    return Task(pk, name, tuple(json.loads(args)))


def finish(pk: int) -> None:
    """Delete a task that has ended, whatever its result."""
    with connection.cursor() as cursor:
        cursor.execute(FINISH, {"id": pk, "running": RUNNING})
