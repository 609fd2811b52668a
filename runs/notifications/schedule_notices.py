"""Messages about schedules: paused, missed, ending, and changed in Prefect."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from flows.wording import plural
from runs.access.decisions import Target
from runs.automation.renewals import environment_of
from runs.models import Chain, ChainStep, EventRule, Hook, RunEvent, Schedule, Verb
from runs.models.notification import Topic
from runs.notifications.audience import everyone, listeners_of
from runs.notifications.event_subjects import can_see, change_of, targets_of
from runs.notifications.recipients import notify, overseers

Kind = RunEvent.Kind


def notify_of_schedule(event: RunEvent) -> None:
    """Notify the owner of a schedule, those who approved it, and the subscribers who can see its deployment."""
    change, facts = change_of(event), event.data
    if change.environment is None:
        return
    what, text = SCHEDULE_TEXTS[event.kind](facts)
    name = f"Schedule {facts['name']} of {change.title}"
    people = [change.requested_by, change.on_behalf_of]
    people += [approval.by for approval in change.approvals.filter(approved=True).select_related("by")]
    notify(
        Topic.SCHEDULE,
        change.environment,
        f"{name} {what}",
        f"{text} Its owner is {change.requester}.",
        target=Schedule.objects.get(pk=facts["schedule"]),
        about=targets_of(change),
        may=can_see(change),
        concerned=[person for person in people if person],
    )


SCHEDULE_TEXTS: dict[str, Callable[[dict[str, Any]], tuple[str, str]]] = {
    Kind.SCHEDULE_PAUSED: lambda facts: (
        "is paused",
        f"Its runs would be refused: {facts['message']} It starts no more until it is resumed or renewed.",
    ),
    Kind.SCHEDULE_MISSED: lambda facts: (
        "missed starts",
        f"{plural(facts['late'], 'start')} came late because the portal was down. Started now: {facts['started']}. "
        f"Skipped: {facts['skipped']}.",
    ),
    Kind.SCHEDULE_ENDING: lambda facts: ("ends soon", "Renew it if it is still needed."),
}


def notify_of_drift(event: RunEvent) -> None:
    """Notify owner and administrators that a schedule was changed in Prefect, or is again what was approved."""
    change, facts = change_of(event), event.data
    schedule = Schedule.objects.filter(pk=facts["schedule"]).first()
    if change.environment is None or schedule is None:
        return
    if event.kind == Kind.SCHEDULE_HOLDS:
        what, text = "is as approved again", "Prefect has it as it was approved."
    else:
        what = "was changed in Prefect"
        text = f"{' '.join(facts['lines'])} Put back what was approved, request what Prefect has, or end it."
    notify(
        Topic.SCHEDULE_DRIFT,
        change.environment,
        f"Schedule {facts['name']} of {change.title} {what}",
        f"{text} Its owner is {change.requester}.",
        target=schedule,
        about=targets_of(change),
        may=can_see(change),
        default_to={*managers_of(change.environment), change.requested_by_id or 0, change.on_behalf_of_id or 0},
    )


def notify_of_ending(event: RunEvent) -> None:
    """Notify the owner that a hook, an event rule or a chain ends soon."""
    row = subject_of(event)
    # Renewed or deleted since.
    if row is None or row.valid_until.isoformat() != event.data["until"]:
        return
    until = timezone.localtime(row.valid_until)
    does = "It can be run" if isinstance(row, Chain) else f"It requests runs of {row.deployment}"
    text = f"until {until:%d %b %Y, %H:%M %Z}. Renew it if it is still needed: save it with a later end."
    notify_owners(event, row, "ends soon", f"{does} in {environment_of(row)} {text}", [row.owner])


def notify_of_obstacle(event: RunEvent) -> None:
    """Notify the owner of what cannot run; of a disabled owner administrators and auditors."""
    row = subject_of(event)
    # Mended, disabled or deleted since.
    if row is None or not (row.obstacle and row.is_enabled):
        return
    people = [row.owner] if row.owner.is_active else overseers()
    what = "Change the chain, or let another person save it." if isinstance(row, Chain) else "It requests nothing."
    notify_owners(event, row, "cannot run", f"{row.obstacle} {what}", people)


def subject_of(event: RunEvent) -> Hook | EventRule | Chain | None:
    """Return the hook, event rule or chain of an event with its owner; None if it is gone."""
    found = SUBJECTS[event.data["kind"]][1]._default_manager.select_related("owner")
    return found.filter(pk=event.data["pk"]).first()


def notify_owners(event: RunEvent, row: Hook | EventRule | Chain, what: str, text: str, people: Iterable[User]) -> None:
    notify(
        Topic.SCHEDULE,
        environment_of(row),
        f"{SUBJECTS[event.data['kind']][0]} {row.name} {what}",
        text,
        target=row,
        about=[Target.of(each) for each in deployments_of(row)],
        may=lambda listener: False,
        concerned=people,
    )


# Kind of an event's subject -> what it is called, and its model.
SUBJECTS: dict[str, tuple[str, type[Hook | EventRule | Chain]]] = {
    "hook": ("Hook", Hook),
    "eventrule": ("Event rule", EventRule),
    "chain": ("Chain", Chain),
}


def deployments_of(row: Hook | EventRule | Chain) -> list[Deployment]:
    """Return what a hook, an event rule or a chain runs."""
    if not isinstance(row, Chain):
        return [row.deployment]
    steps = ChainStep.objects.filter(version__chain=row, version__number=row.number)
    return [step.deployment for step in steps.select_related("deployment__environment")]


def managers_of(environment: Environment) -> set[int]:
    """Return the keys of the people who can manage a whole environment, its administrators."""
    place = Target.whole(environment)
    return {each.key or 0 for each in listeners_of(everyone()) if each.can(Verb.MANAGE, place)}
