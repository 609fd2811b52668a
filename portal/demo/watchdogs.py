"""Detects processes that run but do not work: a cluster with a stuck queue, a follower with a stuck loop."""

import time
from pathlib import Path

import psycopg

# Tasks are killed after a minute at the latest, and the oldest due one is always taken next: so the head of the queue
# must move within that minute, however long the queue is. An idle worker killed with the queue's lock blocks the whole
# cluster, which goes on reporting "Working".
PATIENCE = 90.0
CHECK_EVERY = 10.0
# Seconds. The follower touches its file every ten.
SILENCE = 60.0
HEAD = "SELECT id, lock FROM django_q_ormq WHERE lock <= now() ORDER BY lock, id LIMIT 1"


class QueueWatch:
    """Remembers how long the head of the queue has been the same."""

    def __init__(self, database: str, *, patience: float = PATIENCE, check_every: float = CHECK_EVERY) -> None:
        self._database = database
        self._patience = patience
        self._check_every = check_every
        self._head: object = None
        self._since = self._checked = 0.0

    def problem(self, age: float) -> str:
        """Return the problem, or "" if there is none. `age` is the number of seconds since the cluster was started."""
        # Called several times a second by the supervisor: most calls do not query.
        now = time.monotonic()
        if now - self._checked < self._check_every:
            return ""
        self._checked = now
        try:
            with psycopg.connect(self._database, connect_timeout=2) as connection:
                head = connection.execute(HEAD).fetchone()
        except psycopg.Error:
            # A problem of Postgres, which has a part of its own: restarting the cluster would not help.
            return ""
        if head is None or head != self._head:
            self._head, self._since = head, now
            return ""
        waited = min(now - self._since, age)
        if waited < self._patience:
            return ""
        return f"the oldest queued task has been waiting for {waited:.0f} s."


class HeartbeatWatch:
    """Watches the file that a process touches while its loop runs."""

    def __init__(self, file: Path, *, silence: float = SILENCE) -> None:
        self.file = file
        self._silence = silence

    def problem(self, age: float) -> str:
        """Return the problem, or "" if there is none. `age` is the number of seconds since the process was started."""
        # The file may be that of the previous process, so nothing is older than this one.
        beat = self.file.stat().st_mtime if self.file.exists() else 0.0
        silent = min(time.time() - beat, age)
        return f"no heartbeat for {silent:.0f} s." if silent >= self._silence else ""
