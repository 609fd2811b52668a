"""The processes of `manage.py qcluster`: django-q2's worker, once in each process, with a separate broker.

django-q2's own cluster shares one locked queue among its processes: a worker that is killed while it waits keeps the
lock, and all are blocked until a watchdog restarts them. These share nothing but Postgres: the parent replaces a child
that dies, a child whose parent is gone ends, and the task of a dead one is due again after `queue.LEASE`.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import select
import signal
import time
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

import psycopg
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.signing import SignedPackage
from django_q.worker import worker

from runs import periodic, queue
from runs.queue import Priority

log = logging.getLogger(__name__)

# What each process takes. The first is kept free of what can wait for a slow Prefect for a minute: a launch never
# stands behind a sync.
PROCESSES = (Priority.FOLLOW_UP, Priority.MAINTAIN, Priority.MAINTAIN)
# Seconds a task may run, and what it then gets to clean up. In all less than `queue.LONGEST`.
TIMEOUT, GRACE = 60, 10
# Before the queue is read without a notification: a task whose process was killed becomes due without one.
FALLBACK_SECONDS = 5.0
# Before a process that died is replaced, and before a database that is away is asked again.
PAUSE_SECONDS = 1.0
# What django-q2's worker takes for the end of the queue.
END = "STOP"


class Stop:
    """Whether the process was asked to stop. A second signal changes nothing: a task is never cut short.

    A `select` on it ends then.
    """

    def __init__(self, *signals: signal.Signals) -> None:
        self.is_set = False
        self._readable, self._writable = os.pipe()
        for number in signals:
            signal.signal(number, self._set)

    def fileno(self) -> int:
        return self._readable

    def _set(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True
        os.write(self._writable, b".")


class Timer:
    """What django-q2's worker counts in. It tells the parent since when the child has been busy.

    Without a lock, unlike the `Value` that django-q2 uses: a child that is killed would keep it.
    """

    def __init__(self) -> None:
        self._value = -1.0
        # Monotonic seconds, shared with the parent; 0 while there is no task.
        self._busy_since = multiprocessing.RawValue("d", 0)

    @property
    def value(self) -> float:
        """The seconds that the worker gives a task, -1 between two tasks, 0 after a time-out."""
        return self._value

    @value.setter
    def value(self, seconds: float) -> None:
        self._value = seconds
        self._busy_since.value = time.monotonic() if seconds > 0 else 0

    def get_lock(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    @property
    def busy_seconds(self) -> float:
        since = float(self._busy_since.value)
        return time.monotonic() - since if since else 0


class Tasks:
    """The queue that django-q2's worker reads: what the broker has, until the process is to end."""

    def __init__(self, broker: Any, parent: int) -> None:
        self._broker = broker
        self._parent = parent
        self._stop = Stop(signal.SIGTERM)
        self._listening: Any = None
        # When the next periodic task is due.
        self._next_due = timezone.now()

    def get(self) -> dict[str, Any] | str:
        """Return the next task, or `END` after SIGTERM or when the parent process is gone."""
        while not self._stop.is_set and os.getppid() == self._parent:
            try:
                # Listen before looking: a task queued in between would otherwise wait for the fallback.
                close_old_connections()
                self._listen()
                if self._next_due <= timezone.now():
                    self._next_due = periodic.queue_due(self._broker)
                taken = self._broker.dequeue()
                if not taken:
                    self._wait()
                    continue
                ((key, package),) = taken
                task: dict[str, Any] = SignedPackage.loads(package)
                if task["func"] in queue.TASKS:
                    return task | {"ack_id": key, "taken": time.monotonic()}
                log.error("%s is not one of the tasks.", task["func"])
                self._broker.acknowledge(key)
            # psycopg's own errors come from the wait, which Django does not wrap.
            except (DatabaseError, InterfaceError, psycopg.Error) as error:
                # One line: it is said each second until the database is back.
                log.error("The queue of background tasks cannot be read: %s", " ".join(str(error).split()))
                connection.close()
                time.sleep(PAUSE_SECONDS)
        return END

    def _listen(self) -> None:
        """LISTEN once per connection; Django may have replaced it since the last call."""
        connection.ensure_connection()
        if self._listening is not connection.connection:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {queue.CHANNEL}")
            self._listening = connection.connection

    def _wait(self) -> None:
        """Wait for a notification, a signal, or until a periodic task is due, at most `FALLBACK_SECONDS`."""
        # First those that came with an answer. `select`, because psycopg's own wait wakes up ten times a second.
        if not self._is_notified():
            until_due = (self._next_due - timezone.now()).total_seconds()
            select.select([self._listening, self._stop], [], [], max(0.0, min(FALLBACK_SECONDS, until_due)))
            self._is_notified()

    def _is_notified(self) -> bool:
        return bool(list(self._listening.notifies(timeout=0)))


class Results:
    """Where django-q2's worker puts what became of a task: the log. A task that ended is not run again."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker

    def put(self, task: dict[str, Any]) -> None:
        seconds = time.monotonic() - task["taken"]
        if task["success"]:
            log.info("%s: %.1f s", task["name"], seconds)
        else:
            log.error("%s failed after %.1f s: %s", task["name"], seconds, task["result"])
            # It may have been interrupted in the middle of a query, which leaves the connection unusable.
            connection.close()
        self._broker.acknowledge(task["ack_id"])


def run_processes() -> None:
    """Run one process for each of `PROCESSES` until SIGTERM or SIGINT, and replace those that die."""
    stop = Stop(signal.SIGTERM, signal.SIGINT)
    timers = [Timer() for _ in PROCESSES]
    children = list(map(start, PROCESSES, timers))
    while not stop.is_set:
        multiprocessing.connection.wait([stop.fileno(), *(child.sentinel for child in children)], timeout=PAUSE_SECONDS)
        for number, child in enumerate(children):
            # A task that does not let itself be interrupted.
            if timers[number].busy_seconds > TIMEOUT + GRACE:
                child.kill()
                child.join()
            if not stop.is_set and not child.is_alive():
                # 0 is after a time-out, or the number of tasks after which django-q2's worker wants a fresh process.
                if child.exitcode:
                    log.error("A process for background tasks ended (%s) and is replaced.", child.exitcode)
                    time.sleep(PAUSE_SECONDS)
                timers[number] = Timer()
                children[number] = start(PROCESSES[number], timers[number])
    # Each at once, and again each second: a child that was only just forked misses the first signal.
    while living := [child for child in children if child.is_alive()]:
        for child in living:
            child.terminate()
        multiprocessing.connection.wait([child.sentinel for child in living], timeout=PAUSE_SECONDS)


def start(up_to: Priority, timer: Timer) -> BaseProcess:
    # By fork: it costs neither a second start of Django nor its memory. The parent has no thread and no connection.
    process = multiprocessing.get_context("fork").Process(target=work, args=(up_to, os.getpid(), timer))
    process.start()
    return process


def work(up_to: Priority, parent: int, timer: Timer) -> None:
    """Run tasks up to a priority until SIGTERM, or until the parent process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, which sends it to every process: the parent decides
    # The worker would close a connection of this age between taking a task and running it, and with it the lock that
    # says that the task is running.
    connection.settings_dict["CONN_MAX_AGE"] = None
    # Nor is it tested before each task: the queue was just read through it.
    connection.settings_dict["CONN_HEALTH_CHECKS"] = False
    broker = get_broker()
    broker.up_to = up_to
    worker(Tasks(broker, parent), Results(broker), timer, TIMEOUT)
