"""Matches events with event rules in an empty database, and measures; `benchmarks.event_rules` starts one."""

from __future__ import annotations

import os
import sys
import uuid
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402  (Django must be set up before)
from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks.event_batches import DEPLOYMENTS, create_ends, measure, report  # noqa: E402
from flows.models import Deployment  # noqa: E402
from runs.automation import rule_digest, rule_firing, rule_matching  # noqa: E402
from runs.models import EventRule, Grant, RuleFiring  # noqa: E402

EVENTS = 3_000


def prepare() -> tuple[User, list[Deployment]]:
    """An owner who sees everything, and runs of many deployments that have failed."""
    place, deployments = create_ends(EVENTS, ["FAILED"])
    owner = User.objects.create_user("owner", is_staff=True)
    verbs = ["see", "see inputs", "trigger"]
    Grant.objects.create(person=owner, verbs=verbs, environment=place, granted_by_name="benchmark")
    return owner, deployments


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
            valid_until=timezone.now() + timedelta(days=1),
        )
        rule.match_key = rule_matching.key_of(rule)
        rule_digest.sign(rule)


def main() -> int:
    call_command("migrate", verbosity=0)
    owner, deployments = prepare()
    for title, names in (
        ("10 rules, for 1% of the events", [f"flow/d{number}" for number in range(10)]),
        ("1,000 rules, for none of the events", [f"flow/x{number}" for number in range(DEPLOYMENTS)]),
        ("1,000 rules, one for each event", [f"flow/d{number}" for number in range(DEPLOYMENTS)]),
    ):
        EventRule.objects.all().delete()
        add_rules(owner, deployments, names)
        # The first time warms up.
        measure(rule_firing.match, RuleFiring)
        report(title, rule_firing.match, RuleFiring, "rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
