"""Whether a process does its work, for container health checks: `python -m portal.ops.probe web|background|follower`.

It starts no Django: it is asked every half minute, and must answer when the process it asks about is slow.
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

NO_SCHEDULER = "Periodic tasks are overdue: the scheduler is not running."
NO_WORKER = "Queued tasks are overdue: no worker is processing them."
PORT = 8000
SECONDS = 5
# The follower touches its file every ten seconds.
OLDEST_BEAT = 60
# Schedules are looked at every half minute, and the shortest runs every minute.
OVERDUE_SCHEDULES = "SELECT count(*) FROM django_q_schedule WHERE next_run < now() - interval '4 minutes'"
# A task is ended after a minute at the latest: when something is due for longer, some task must have ended meanwhile.
OVERDUE_TASKS = """
    SELECT count(*) FROM django_q_ormq WHERE lock < now() - interval '3 minutes'
    AND NOT EXISTS (SELECT 1 FROM django_q_task WHERE stopped > now() - interval '3 minutes')
"""


def check_web(port: int = PORT) -> str:
    # The portal answers only to the names it was given.
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
                (OVERDUE_TASKS, NO_WORKER),
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
    database = settings.DATABASES["default"]
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    options = {key: value for key, value in database["OPTIONS"].items() if key != "pool"}
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
