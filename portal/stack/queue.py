"""Whether the background tasks are worked on: a cluster whose queue is stuck still says that it works."""

import time

import psycopg

# Tasks are ended after a minute at the latest, and the oldest one that is due is always taken next:
# so the head of the queue must move within that minute, however much waits behind it.
PATIENCE = 90.0
LOOK_EVERY = 10.0
HEAD = "SELECT id, lock FROM django_q_ormq WHERE lock <= now() ORDER BY lock, id LIMIT 1"


class QueueWatch:
    """Remembers since when the head of the queue has been the same."""

    def __init__(self, database: str, *, patience: float = PATIENCE, look_every: float = LOOK_EVERY) -> None:
        self._database = database
        self._patience = patience
        self._look_every = look_every
        self._head: object = None
        self._since = self._looked = 0.0

    def ailment(self) -> str:
        """A sentence when nobody takes what is due, else nothing."""
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
        if now - self._since < self._patience:
            return ""
        waited, self._head = now - self._since, None
        return f"the task at the head of the queue was not taken for {waited:.0f} s."
