"""Measures the clock of the schedules in an empty database; `benchmarks.schedules` starts one and calls this."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402  (Django must be set up before)
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks.form_pages import Case, deploy  # noqa: E402
from flows.models import Environment, Server  # noqa: E402
from runs.actors import Actor, Channel  # noqa: E402
from runs.audit import signatures  # noqa: E402
from runs.automation import schedule_clock, schedules  # noqa: E402
from runs.models import ChangeRequest, Grant, RunRequest, Schedule  # noqa: E402

RESULT = Path(__file__).parent / "schedules.json"
HOUR = 3600
# How often the two periodic tasks run in an hour: `runs.periodic`.
TICKS, INSPECTIONS, IDLE_ROUNDS = 360, 60, 50


def cost(backend: int, work: Callable[[], object]) -> float:
    """Return the seconds of processor time that the work took here and in the Postgres session."""
    before = time.process_time(), session_seconds(backend)
    work()
    return time.process_time() - before[0] + session_seconds(backend) - before[1]


def session_seconds(backend: int) -> float:
    # After the name in brackets; user and system time are the 14th and 15th field.
    fields = Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make(count: int) -> None:
    environment = Environment.objects.create(slug="dev", server=Server.objects.create(api_url="http://dev.bench/api"))
    user = User.objects.create(username="requester", is_staff=True)
    verbs = ["see", "trigger", "schedule"]
    Grant.objects.create(person=user, verbs=verbs, environment=environment, granted_by_name="bench")
    deployment = deploy(environment, Case("bench", {"type": "object", "properties": {}, "required": []}, {}))
    by = Actor.person(user, channel=Channel.ADMIN)
    until = timezone.now() + timedelta(days=30)
    # However long making them takes: the last one is started also if it is late.
    hourly = {"rule_type": "interval", "rule": "1h", "time_zone": "Europe/Berlin", "catch_up": "last"}
    first = schedules.request(deployment, {}, by=by, name="hourly", valid_until=until, **hourly)
    copy(first, count - 1)


def copy(schedule: Schedule, count: int) -> None:
    """Insert the same schedule again, signed as if each had been requested: a thousand requests take a minute."""
    made = []
    spec = schedule.spec
    for _ in range(count):
        change = ChangeRequest.objects.get(pk=schedule.change_id)
        change.pk, change.submission_key, change._state.adding = None, uuid.uuid4(), True
        change.signature = signatures.sign(change)
        change.save(force_insert=True)
        spec.pk, spec.change = None, change
        spec.signature = signatures.sign(spec)
        spec.save(force_insert=True)
        values = {field.attname: getattr(schedule, field.attname) for field in Schedule._meta.concrete_fields}
        made.append(Schedule(**{**values, "id": None, "change_id": change.pk, "spec_id": spec.pk}))
    Schedule.objects.bulk_create(made)


def idle() -> None:
    for _ in range(IDLE_ROUNDS):
        schedule_clock.tick()


def inspect() -> None:
    for _ in range(IDLE_ROUNDS):
        schedule_clock.inspect()


def run_all_due() -> None:
    while Schedule.objects.filter(next_due__lte=timezone.now()).exists():
        schedule_clock.tick()


def main(count: int) -> None:
    call_command("migrate", verbosity=0)
    make(count)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = int(cursor.fetchone()[0])
    one_tick, one_look = (cost(backend, work) / IDLE_ROUNDS for work in (idle, inspect))
    # As if the hour had passed.
    now = timezone.now
    timezone.now = lambda: now() + timedelta(hours=1)
    all_due = cost(backend, run_all_due)
    if RunRequest.objects.count() != count:
        sys.exit(f"{RunRequest.objects.count()} runs of {count} schedules")
    hour = TICKS * one_tick + INSPECTIONS * one_look + all_due
    result = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "schedules": count,
        "idle_tick_ms": round(one_tick * 1000, 2),
        "inspection_ms": round(one_look * 1000, 2),
        "one_start_ms": round(all_due / count * 1000, 2),
        "share_of_a_core": round(hour / HOUR, 4),
    }
    print(json.dumps(result, indent=2))
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
