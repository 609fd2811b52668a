"""Matches events with event rules in an empty database, and measures; `benchmarks.event_rules` starts one.

The events are ends of runs of 1,000 deployments, read in batches as the consumer reads them. What is measured is the
time of this process's processor and that of the Postgres session; each measurement is rolled back.
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
from runs.automation import rule_digest, rule_firing, rule_matching  # noqa: E402
from runs.models import EventRule, Grant, RuleFiring, Run, RunEvent  # noqa: E402

DEPLOYMENTS, EVENTS, BATCH = 1_000, 3_000, 100


def prepare() -> tuple[User, list[Deployment]]:
    """An owner who sees everything, and runs of many deployments that have failed."""
    now = timezone.now()
    place = Environment.objects.create(slug="dev", server=Server.objects.create(api_url="http://dev.test/api"))
    owner = User.objects.create_user("owner", is_staff=True)
    verbs = ["see", "see inputs", "trigger"]
    Grant.objects.create(person=owner, verbs=verbs, environment=place, granted_by_name="benchmark")
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
            state_type="FAILED",
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
            data={"state": "FAILED", "before": "RUNNING"},
        )
        for run in runs
    )
    return owner, list(deployments)


def add_rules(owner: User, deployments: list[Deployment], names: list[str]) -> None:
    for name in names:
        rule = EventRule(
            key=uuid.uuid4().hex[:20],
            name=name,
            owner=owner,
            trigger=EventRule.Trigger.RUN,
            states=["FAILED"],
            full_name=name,
            conditions=[{"pointer": "/run/parameters/rows", "is": "gt", "value": 10}],
            deployment=deployments[0],
            mapping={"month": {"pointer": "/run/parameters/month"}},
            per_hour=1_000,
        )
        rule.match_key = rule_matching.key_of(rule)
        rule_digest.sign(rule)


def used_by_postgres() -> float:
    """Return the processor seconds of the session's process, which is on this machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure() -> tuple[float, float, int]:
    """Return the processor seconds here and in Postgres for all events, and how many rows were written."""
    events = list(RunEvent.objects.order_by("pk"))
    postgres, here = used_by_postgres(), time.process_time()
    with transaction.atomic():
        for first in range(0, len(events), BATCH):
            rule_firing.match(events[first : first + BATCH])
        here = time.process_time() - here
        postgres, rows = used_by_postgres() - postgres, RuleFiring.objects.count()
        transaction.set_rollback(True)
    return here, postgres, rows


def main() -> int:
    call_command("migrate", verbosity=0)
    owner, deployments = prepare()
    for title, names in (
        ("10 rules, for 1 % of the events", [f"flow/d{number}" for number in range(10)]),
        ("1,000 rules, for none of the events", [f"flow/x{number}" for number in range(DEPLOYMENTS)]),
        ("1,000 rules, one for each event", [f"flow/d{number}" for number in range(DEPLOYMENTS)]),
    ):
        EventRule.objects.all().delete()
        add_rules(owner, deployments, names)
        measure()
        here, postgres, rows = measure()
        each = [seconds / EVENTS * 1e6 for seconds in (here, postgres)]
        busy = (here + postgres) / EVENTS * 10_000 / 60
        print(
            f"{title:<36} {each[0]:5.0f} µs an event, {each[1]:5.0f} µs in Postgres, {rows:5} rows; "
            f"10,000 events a minute keep a processor busy for {busy:.1%}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
