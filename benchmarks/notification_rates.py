"""Makes notifications of ends of runs in an empty database, and measures; `benchmarks.notifications` starts one.

The events are ends of runs of 1,000 deployments, handled in batches as the consumer handles them. What is measured is
the time of this process's processor and that of the Postgres session; each measurement is rolled back.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402  (Django must be set up before)
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from flows.models import Deployment, Environment, Server  # noqa: E402
from runs.models import Grant, Notification, NotificationRule, Run, RunEvent  # noqa: E402
from runs.notifications import run_ends, topic_matching  # noqa: E402

DEPLOYMENTS, EVENTS, BATCH, PEOPLE = 1_000, 10_000, 100, 50
STATES = ("FAILED", "COMPLETED")


def prepare() -> list[User]:
    """People who see everything, and runs of many deployments that have ended."""
    now = timezone.now()
    place = Environment.objects.create(slug="dev", server=Server.objects.create(api_url="http://dev.test/api"))
    people = [User.objects.create_user(f"person{number}", is_staff=True) for number in range(PEOPLE)]
    for person in people:
        Grant.objects.create(person=person, verbs=["see"], environment=place, granted_by_name="benchmark")
    common = {"environment": place, "flow_name": "flow", "synced_at": now}
    deployments = Deployment.objects.bulk_create(
        Deployment(
            **common,
            prefect_id=uuid.uuid4(),
            flow_id=uuid.uuid4(),
            name=f"d{number}",
            full_name=f"flow/d{number}",
            schema_fingerprint="",
        )
        for number in range(DEPLOYMENTS)
    )
    runs = Run.objects.bulk_create(
        Run(
            **common,
            deployment=each,
            access_deployment=each,
            deployment_name=each.full_name,
            prefect_id=uuid.uuid4(),
            name=f"run {number}",
            state_type=STATES[number // DEPLOYMENTS % 2],
            parameters={"month": "2026-10", "rows": 100},
            tags=["crm"],
        )
        for number in range(EVENTS)
        for each in [deployments[number % DEPLOYMENTS]]
    )
    RunEvent.objects.bulk_create(
        RunEvent(
            kind=RunEvent.Kind.RUN_MOVED,
            environment_id=place.pk,
            deployment_id=run.deployment_id,
            run_id=run.pk,
            data={"state": run.state_type, "before": "RUNNING"},
        )
        for run in runs
    )
    return people


def add_rules(people: list[User], names: list[str]) -> None:
    rules = [
        NotificationRule(
            name=name,
            topics=["failed", "recovered"],
            full_name=name,
            person=people[number % PEOPLE],
            created_by_name="b",
        )
        for number, name in enumerate(names)
    ]
    for rule in rules:
        rule.match_key = topic_matching.key_of(rule)
    NotificationRule.objects.bulk_create(rules)


def used_by_postgres() -> float:
    """Return the processor seconds of the session's process, which is on this machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure() -> tuple[float, float, int]:
    """Return the processor seconds here and in Postgres for all events, and how many messages were written."""
    events = list(RunEvent.objects.order_by("pk"))
    postgres, here = used_by_postgres(), time.process_time()
    with transaction.atomic():
        for first in range(0, len(events), BATCH):
            run_ends.notify_of_ends(events[first : first + BATCH])
        here = time.process_time() - here
        postgres, rows = used_by_postgres() - postgres, Notification.objects.count()
        transaction.set_rollback(True)
    return here, postgres, rows


def main() -> int:
    call_command("migrate", verbosity=0)
    people = prepare()
    for title, names in (
        ("10 rules, for 1 % of the events", [f"flow/d{number}" for number in range(10)]),
        ("1,000 rules, for none of the events", [f"flow/x{number}" for number in range(DEPLOYMENTS)]),
        ("1,000 rules, for 10 % of the events", [f"flow/{'d' if n % 10 == 0 else 'x'}{n}" for n in range(DEPLOYMENTS)]),
        ("1,000 rules, one for each event", [f"flow/d{number}" for number in range(DEPLOYMENTS)]),
    ):
        NotificationRule.objects.all().delete()
        add_rules(people, names)
        here, postgres, rows = measure()
        each = [seconds / EVENTS * 1e6 for seconds in (here, postgres)]
        busy = (here + postgres) / EVENTS * 10_000 / 60
        print(
            f"{title:<36} {each[0]:5.0f} µs an event, {each[1]:5.0f} µs in Postgres, {rows:5} messages; "
            f"10,000 events a minute keep a processor busy for {busy:.1%}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
