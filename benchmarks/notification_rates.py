"""Makes notifications of ends of runs in an empty database, and measures; `benchmarks.notifications` starts one."""

from __future__ import annotations

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402  (Django must be set up before)
from django.core.management import call_command  # noqa: E402

from benchmarks.event_batches import DEPLOYMENTS, create_ends, report  # noqa: E402
from runs.models import Grant, Notification, NotificationRule  # noqa: E402
from runs.notifications import run_ends, topic_matching  # noqa: E402

EVENTS, PEOPLE = 10_000, 50


def prepare() -> list[User]:
    """People who see everything, and runs of many deployments that have ended."""
    place, _ = create_ends(EVENTS, ["FAILED", "COMPLETED"])
    people = [User.objects.create_user(f"person{number}", is_staff=True) for number in range(PEOPLE)]
    for person in people:
        Grant.objects.create(person=person, verbs=["see"], environment=place, granted_by_name="benchmark")
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


def main() -> int:
    call_command("migrate", verbosity=0)
    people = prepare()
    for title, names in (
        ("10 rules, for 1% of the events", [f"flow/d{number}" for number in range(10)]),
        ("1,000 rules, for none of the events", [f"flow/x{number}" for number in range(DEPLOYMENTS)]),
        ("1,000 rules, for 10% of the events", [f"flow/{'d' if n % 10 == 0 else 'x'}{n}" for n in range(DEPLOYMENTS)]),
        ("1,000 rules, one for each event", [f"flow/d{number}" for number in range(DEPLOYMENTS)]),
    ):
        NotificationRule.objects.all().delete()
        add_rules(people, names)
        report(title, run_ends.notify_of_ends, Notification, "messages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
