"""Messages about the rules of environments: freezes, what was loosened, bypasses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.utils import timezone

from flows.models import Environment
from runs.models import RunEvent
from runs.models.notification import Topic
from runs.notifications.event_subjects import environment_of
from runs.notifications.recipients import notify, notify_overseers

Kind = RunEvent.Kind


def notify_of_freeze(event: RunEvent) -> None:
    environment = environment_of(event)
    if environment is None:
        return
    by = event.data["by"]
    if event.kind == Kind.FREEZE_ENDED:
        what, text = "unfrozen", f"{by} unfroze {environment}. Held runs are launched now."
    else:
        until = event.data["until"] and timezone.localtime(datetime.fromisoformat(event.data["until"]))
        lasts = f" It ends automatically at {until:%d %b %Y, %H:%M %Z}." if until else ""
        reason = event.data["reason"]
        what, text = "frozen", f"{by} froze {environment}: {reason}. Runs do not start until it is unfrozen.{lasts}"
    notify(Topic.FREEZE, environment, f"{environment} is {what}", text, target=environment)


def notify_of_loosening(event: RunEvent) -> None:
    by, reason = event.data["by"], event.data["reason"]
    approvers = event.data.get("approved_by", [])
    approved = f" Approved by {', '.join(approvers)}." if approvers else ""
    notify_of_rules(
        event,
        lambda names: f"Rules of {names} loosened by {by}",
        lambda names: f"{by} loosened the rules of {names}.{approved} Reason: {reason}",
    )


def notify_of_outside_changes(event: RunEvent) -> None:
    notify_of_rules(
        event,
        lambda names: f"Rules of {names} changed outside the portal",
        lambda names: f"The rules of {names} were changed in the database, outside the portal. Find out who did it.",
    )


def notify_of_rules(event: RunEvent, subject: Callable[[str], str], text: Callable[[str], str]) -> None:
    # An account that was made an administrator where nothing is protected yet.
    listed = ", ".join(event.data["environments"]) or "the portal"
    places = list(Environment.objects.filter(pk__in=event.data["environment_ids"]))
    notify_overseers(Topic.RULES, places, subject(listed), "\n".join([text(listed), "", *event.data["lines"]]))


def notify_of_disabling(event: RunEvent) -> None:
    if environment := environment_of(event):
        advice = "Delete the environment, or enter the URL of another server and enable it again."
        text = f"{event.data['reason']} {advice}"
        notify_overseers(Topic.RULES, [environment], f"{environment} was disabled", text)


def notify_of_bypasses(event: RunEvent) -> None:
    if environment := environment_of(event):
        more = f"\nand {event.data['more']} more" if event.data["more"] else ""
        text = f"Runs can start in {environment} without the portal:"
        lines = "\n".join([text, "", *event.data["lines"]])
        subject = f"New bypasses in {environment}"
        notify_overseers(Topic.BYPASS, [environment], subject, f"{lines}{more}")


def notify_of_unassigned(event: RunEvent) -> None:
    text = "Nothing of these deployments can be run until an administrator confirms where they belong:"
    more = f"\nand {event.data['more']} more" if event.data["more"] else ""
    lines = "\n".join([text, "", *event.data["lines"]])
    # A person who can see one environment must not learn of others on its server.
    text = f"{lines}{more}"
    notify_overseers(Topic.RULES, [], "Deployments have to be assigned", text, only_overseers=True)
