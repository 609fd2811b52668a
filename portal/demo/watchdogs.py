"""Detects processes that run but do not work: background tasks with a stuck queue, a follower with a stuck loop."""

import time
from pathlib import Path

import psycopg

# Seconds that a task may wait while none is being run. Longer than a process needs to be replaced.
PATIENCE = 20.0
CHECK_EVERY = 5.0
# Seconds. The follower touches its file every ten.
SILENCE = 60.0
# How long the oldest task has waited, unless another is being run: a task ends within 70 s, and then its row is gone.
WAITED = """
    SELECT extract(epoch FROM now() - min(queued_at)) FROM runs_queuedtask
    HAVING count(*) FILTER (WHERE taken_at > now() - interval '90 seconds') = 0
"""


class QueueWatch:
    """Detects tasks that wait although no process is busy."""

    def __init__(self, database: str, *, patience: float = PATIENCE, check_every: float = CHECK_EVERY) -> None:
        self._database = database
        self._patience = patience
        self._check_every = check_every
        self._checked = float("-inf")

    def problem(self, age: float) -> str:
        """Return the problem, or "" if there is none. `age` is the number of seconds since the process was started."""
        # Called several times a second by the supervisor: most calls do not query.
        now = time.monotonic()
        if now - self._checked < self._check_every:
            return ""
        self._checked = now
        try:
            with psycopg.connect(self._database, connect_timeout=2) as connection:
                row = connection.execute(WAITED).fetchone()
        except psycopg.Error:
            # A problem of Postgres, which has a part of its own: restarting this one would not help.
            return ""
        # Tasks that waited for the previous process get the full time with this one.
        waited = min(float(row[0] or 0) if row else 0, age)
        return f"the oldest queued task has been waiting for {waited:.0f} s." if waited >= self._patience else ""


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
