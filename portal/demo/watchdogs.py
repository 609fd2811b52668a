"""Processes that run but do not work: a cluster whose queue is stuck, a follower whose loop stands still."""

import time
from pathlib import Path

import psycopg

# Tasks are ended after a minute at the latest, and the oldest one that is due is always taken next:
# so the head of the queue must move within that minute, however much waits behind it.
PATIENCE = 90.0
LOOK_EVERY = 10.0
# The follower touches its file every ten seconds.
SILENCE = 60.0
HEAD = "SELECT id, lock FROM django_q_ormq WHERE lock <= now() ORDER BY lock, id LIMIT 1"


class QueueWatch:
    """Remembers since when the head of the queue has been the same."""

    def __init__(self, database: str, *, patience: float = PATIENCE, look_every: float = LOOK_EVERY) -> None:
        self._database = database
        self._patience = patience
        self._look_every = look_every
        self._head: object = None
        self._since = self._looked = 0.0

    def problem(self, age: float) -> str:
        """A sentence when nobody takes what is due, else nothing. `age`: seconds since the cluster was started."""
        now = time.monotonic()
        if now - self._looked < self._look_every:
            return ""
        self._looked = now
        try:
            with psycopg.connect(self._database, connect_timeout=2) as connection:
                head = connection.execute(HEAD).fetchone()
        except psycopg.Error:
            # That is Postgres's illness, not the queue's.
            return ""
        if head is None or head != self._head:
            self._head, self._since = head, now
            return ""
        waited = min(now - self._since, age)
        if waited < self._patience:
            return ""
        return f"the task at the head of the queue was not taken for {waited:.0f} s."


class HeartbeatWatch:
    """Looks at the file that a process touches as long as its loop turns."""

    def __init__(self, file: Path, *, silence: float = SILENCE) -> None:
        self.file = file
        self._silence = silence

    def problem(self, age: float) -> str:
        """A sentence when the last sign of life is too old, else nothing."""
        beat = self.file.stat().st_mtime if self.file.exists() else 0.0
        silent = min(time.time() - beat, age)
        return f"it gave no sign of life for {silent:.0f} s." if silent >= self._silence else ""
