"""Container health checks: `python -m portal.ops.probe web|background|follower`.

Exits with 0 (healthy), 1 (unhealthy) or 2 (wrong usage).

It does not set up Django: it runs every half minute, and has to be fast when the process it checks is slow.
"""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from portal import settings

NO_SCHEDULER = "Periodic tasks are overdue: no process is queueing them."
NO_PROCESS = "Queued tasks are overdue: no process is running them."
PORT = 8000
SECONDS = 5
# Seconds. The follower touches its file every ten.
OLDEST_BEAT = 60
# Options of Django's connections that are no parameters of a connection string.
NOT_LIBPQ = frozenset({"pool", "server_side_binding", "prepare_threshold"})
# Every process that runs background tasks looks each second, and the shortest period is 5 s.
OVERDUE_SCHEDULES = "SELECT count(*) FROM django_q_schedule WHERE next_run < now() - interval '2 minutes'"
# A process takes the next task as soon as it is free, and a task runs for at most 70 s: if one waits for two minutes
# and none was taken meanwhile, no process is alive. A busy portal with a long queue is healthy.
OVERDUE_TASKS = """
    SELECT count(*) FROM runs_queuedtask WHERE taken_at IS NULL AND queued_at < now() - interval '2 minutes'
    AND NOT EXISTS (SELECT 1 FROM runs_queuedtask WHERE taken_at > now() - interval '90 seconds')
"""


# Each check returns the problem, or "" when the process is healthy.


def check_web(port: int = PORT) -> str:
    # Django answers 400 to a Host that is not allowed, so "127.0.0.1" alone would not do.
    host = settings.ALLOWED_HOSTS[0].lstrip("*.") if settings.ALLOWED_HOSTS else ""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/health/ready", headers={"Host": host or "localhost"})
        answer = connection.getresponse()
        return (
            "" if answer.status == 200 else f"The web process responded with HTTP {answer.status}: {answer.read(300)!r}"
        )
    except OSError as error:
        return f"The web process does not respond: {error}."
    finally:
        connection.close()


def check_tasks() -> str:
    try:
        with psycopg.connect(conninfo(), connect_timeout=SECONDS) as connection:
            for query, sentence in (
                (OVERDUE_SCHEDULES, NO_SCHEDULER),
                (OVERDUE_TASKS, NO_PROCESS),
            ):
                (count,) = connection.execute(query).fetchone() or (0,)
                if count:
                    return sentence
    except psycopg.Error as error:
        return f"The database does not respond: {type(error).__name__}."
    return ""


def check_follower() -> str:
    try:
        age = time.time() - Path(settings.HEARTBEAT_FILE).stat().st_mtime
    except OSError as error:
        return f"PORTAL_HEARTBEAT cannot be read: {error.strerror}."
    return "" if age < OLDEST_BEAT else f"No heartbeat from the follower for {age:.0f} s."


def conninfo() -> str:
    """Return the connection string of Django's database, without the options that only Django knows."""
    database = settings.DATABASES["default"]
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    options = {key: value for key, value in database["OPTIONS"].items() if key not in NOT_LIBPQ}
    return make_conninfo(**{names[key]: database[key] for key in names if database[key]}, **options)


CHECKS: dict[str, Callable[[], str]] = {"web": check_web, "background": check_tasks, "follower": check_follower}


def main(arguments: Sequence[str]) -> int:
    name, *port = arguments or [""]
    if name not in CHECKS:
        print(f"Specify the process: {', '.join(CHECKS)}.", file=sys.stderr)
        return 2
    problem = check_web(int(port[0])) if name == "web" and port else CHECKS[name]()
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
