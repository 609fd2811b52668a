"""The processes that run background tasks: a parent that starts them, and each takes its tasks from the queue.

They share nothing but Postgres, so that a kill of any of them holds up no other: the parent replaces a child that dies,
a child whose parent is gone ends, and the task of a dead one is due again after `queue.LEASE`.
"""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import time
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

import psycopg
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django.utils.module_loading import import_string

from runs import periodic, queue
from runs.queue import Priority, Task

log = logging.getLogger(__name__)

# What each process takes. The first is kept free of what can wait for a slow Prefect for a minute: a launch never
# stands behind a sync.
PROCESSES = (Priority.FOLLOW_UP, Priority.MAINTAIN, Priority.MAINTAIN)
# Of this many tasks one is the oldest, whatever its priority: nothing waits for ever behind a stream of launches.
OLDEST_EVERY = 4
# Seconds a task may run, and what it then gets to clean up. In all less than `queue.LONGEST`.
TIMEOUT, GRACE = 60, 10
# A NOTIFY can be lost with its connection, and a task whose process was killed becomes due without one.
FALLBACK_SECONDS = 1.0
# Before a process that died is replaced, and before a database that is away is asked again.
PAUSE_SECONDS = 1.0


class TaskTimeout(BaseException):
    """A task ran too long. No task's `except Exception` may swallow it."""


class Stop:
    """Whether the process was asked to stop. A second signal changes nothing: a task is never cut short."""

    def __init__(self, *signals: signal.Signals) -> None:
        self.is_set = False
        for number in signals:
            signal.signal(number, self._set)

    def _set(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True


def run_processes() -> None:
    """Run one process for each of `PROCESSES` until SIGTERM or SIGINT, and replace those that die."""
    stop = Stop(signal.SIGTERM, signal.SIGINT)
    children = [start(up_to) for up_to in PROCESSES]
    while not stop.is_set:
        multiprocessing.connection.wait([child.sentinel for child in children], timeout=PAUSE_SECONDS)
        for number, child in enumerate(children):
            if not stop.is_set and not child.is_alive():
                log.error("A process for background tasks ended (%s) and is replaced.", child.exitcode)
                time.sleep(PAUSE_SECONDS)
                children[number] = start(PROCESSES[number])
    # Each at once, and again each second: a child that was only just forked misses the first signal.
    while living := [child for child in children if child.is_alive()]:
        for child in living:
            child.terminate()
        multiprocessing.connection.wait([child.sentinel for child in living], timeout=PAUSE_SECONDS)


def start(up_to: Priority) -> BaseProcess:
    # By fork: it costs neither a second start of Django nor its memory. The parent has no thread and no connection.
    process = multiprocessing.get_context("fork").Process(target=work, args=(up_to, os.getpid()))
    process.start()
    return process


def work(up_to: Priority, parent: int) -> None:
    """Take and run tasks up to a priority until SIGTERM, or until the parent process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, which sends it to every process: the parent decides
    stop = Stop(signal.SIGTERM)
    waiter = Waiter()
    taken = 0
    while not stop.is_set and os.getppid() == parent:
        try:
            # Listen before looking: a task queued in between would otherwise wait for the fallback.
            close_old_connections()
            waiter.listen()
            periodic.queue_due()
            task = queue.take(up_to=up_to, by_age=taken % OLDEST_EVERY == OLDEST_EVERY - 1)
            if task is None:
                waiter.wait()
                continue
            taken += 1
            run(task)
        # psycopg's own errors come from the wait, which Django does not wrap.
        except (DatabaseError, InterfaceError, psycopg.Error):
            log.exception("The queue of background tasks cannot be read.")
            connection.close()
            time.sleep(PAUSE_SECONDS)


def run(task: Task) -> None:
    """Run one task to its end. An error is logged: what must be tried again says so in a row of its own."""
    began = time.monotonic()
    signal.signal(signal.SIGALRM, time_out)
    signal.alarm(TIMEOUT)
    try:
        if task.name not in queue.TASKS:
            raise LookupError(f"{task.name} is not one of the tasks.")
        import_string(task.name)(*task.args)
        log.info("%s: %.1f s", task, time.monotonic() - began)
    except Exception:
        log.exception("%s failed after %.1f s", task, time.monotonic() - began)
    except TaskTimeout:
        log.error("%s was ended after %d s.", task, TIMEOUT)
        # It may have been in the middle of a query, which leaves the connection unusable.
        connection.close()
        queue.finish(task)
        raise SystemExit(1) from None
    finally:
        signal.alarm(0)
    queue.finish(task)


def time_out(number: int, frame: FrameType | None) -> None:
    # Where the task does not end, the kernel ends the process: it needs no thread and no parent that watches.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(GRACE)
    raise TaskTimeout


class Waiter:
    """Waits for NOTIFY of a queued task on Django's connection."""

    def __init__(self) -> None:
        self._listening: Any = None

    def listen(self) -> None:
        """LISTEN once per connection; Django may have replaced it since the last call."""
        connection.ensure_connection()
        if self._listening is not connection.connection:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {queue.CHANNEL}")
            self._listening = connection.connection

    def wait(self) -> None:
        """Wait for a notification, at most `FALLBACK_SECONDS`."""
        for _ in self._listening.notifies(timeout=FALLBACK_SECONDS, stop_after=1):
            pass
