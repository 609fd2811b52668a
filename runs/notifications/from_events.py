"""The notifications that follow from events: one function for each kind. Permissions are checked when it is handled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils import timezone

from flows.models import Environment
from flows.wording import plural
from runs import failures, requests
from runs.access.decisions import Permissions, Target
from runs.models import (
    Breach,
    ChangeRequest,
    FailureGroup,
    Run,
    RunEvent,
    RunRequest,
    RunSpec,
    Schedule,
    ServiceLevel,
    Stall,
    Verb,
)
from runs.models.notification import Topic
from runs.notifications.services import Message, notify, notify_concerned, notify_each, notify_overseers, notify_person

# Runs that one message names.
MOST_NAMED = 10
Kind = RunEvent.Kind


def notify_of(event: RunEvent) -> None:
    """Create the messages that follow from one event of `NOTICES`."""
    NOTICES[event.kind](event)


def request_of(event: RunEvent) -> RunRequest:
    found = RunRequest.objects.select_related("environment", "deployment__environment", "change__requested_by", "spec")
    return found.get(pk=event.request_id or 0)


def change_of(event: RunEvent) -> ChangeRequest:
    return ChangeRequest.objects.select_related("environment", "requested_by").get(pk=event.change_id or 0)


def environment_of(event: RunEvent) -> Environment | None:
    """Return the environment; None if it was deleted since, which is possible as long as it was never used."""
    return Environment.objects.filter(pk=event.environment_id or 0).first()


def notify_approvers(event: RunEvent) -> None:
    """Notify the subscribers who can approve the current stage: those in its group, or anyone if it has none."""
    change = change_of(event)
    if change.environment is None or change.kind == ChangeRequest.Kind.RULES:
        notify_signers(change)
        return
    specs = [(spec.deployment, requests.spec_values(spec)) for spec in specs_of(change)]
    group = event.data["group"]
    # They can neither approve their own request nor approve twice.
    others = {change.requested_by_id, change.on_behalf_of_id}
    others |= set(change.approvals.values_list("by", flat=True))

    def may(person: User) -> bool:
        if person.pk in others or (group and not person.groups.filter(name=group).exists()):
            return False
        permissions = Permissions.of_person(person)
        return all(permissions.decide(Verb.APPROVE, deployment, values) for deployment, values in specs)

    notify(
        Topic.WAITING,
        change.environment,
        f"Approval needed: {change.title}",
        f"{change.requester} requested {change.summary}. Reason: {change.reason or 'none given'}.",
        target=change.subject,
        may=may,
    )


def notify_at_gate(event: RunEvent) -> None:
    """Notify the subscribers who can decide about a step of a chain that waits at its gate."""
    run_request = request_of(event)
    change, verb = run_request.change, Verb.TRIGGER
    others: set[int | None] = set()
    if change.needs_approval:
        verb, others = Verb.APPROVE, {change.requested_by_id, change.on_behalf_of_id}
    values = requests.values_of(run_request)

    def may(person: User) -> bool:
        allowed = Permissions.of_person(person).decide(verb, run_request.deployment, values)
        return person.pk not in others and bool(allowed)

    notify(
        Topic.WAITING,
        run_request.environment,
        f"Decision needed: {run_request.spec.deployment_name} in {change.environment_name}",
        f"A step of the chain that {change.requester} requested waits at its gate: request {run_request.pk}.",
        target=change,
        may=may,
    )


def notify_signers(change: ChangeRequest) -> None:
    """Notify all administrators and auditors that a change of rules waits for a second administrator."""
    lines = [f"- {what}" for what in change.rule_change.what]
    text = (
        f"{change.requested_by_name} wants to loosen the rules of {change.environment_name}. It takes effect when "
        f"another administrator approves it. Reason: {change.reason}"
    )
    notify_overseers(
        Topic.RULES,
        list(Environment.objects.filter(slug__in=change.rule_change.environments)),
        f"Approval needed: rules of {change.environment_name}",
        "\n".join([text, "", *lines]),
        target=change,
        # Subscribers hear of it when it takes effect: they cannot see it before.
        may=lambda person: False,
    )


def notify_requester(event: RunEvent) -> None:
    """Notify the requester of an approval or a rejection."""
    change = change_of(event)
    what = "approved" if event.kind == Kind.REQUEST_APPROVED else "rejected"
    if change.requested_by:
        notify_person(
            Topic.ANSWERED,
            change.environment,
            change.requested_by,
            f"{change.title} was {what}",
            f"{event.data['by']} {what} your request {change.pk}. {event.data['message']}",
            target=change.subject,
        )


def notify_of_loss(event: RunEvent) -> None:
    """Notify the requester that the run was deleted in Prefect before it ended."""
    run_request = request_of(event)
    if requester := run_request.change.requested_by:
        notify_person(
            Topic.STALLED,
            run_request.environment,
            requester,
            f"{run_request.spec.deployment_name} in {run_request.change.environment_name}: run deleted in Prefect",
            f"Request {run_request.pk}: {event.data['message']}",
            target=run_request,
        )


def notify_of_stop(event: RunEvent) -> None:
    """Notify the requester of a backfill, its approvers and subscribers who can see it that it stopped at a failure."""
    change = change_of(event)
    if change.environment is None:
        return
    approvals = change.approvals.filter(approved=True).select_related("by")
    people = [*([change.requested_by] if change.requested_by else []), *(approval.by for approval in approvals)]
    notify(
        Topic.STOPPED,
        change.environment,
        f"Backfill stopped: {change.title}",
        f"{event.data['message']} Nothing more of request {change.pk} starts until someone resumes it, or cancels the "
        "rest.",
        target=change.subject,
        may=can_see(change),
        also=people,
    )


def notify_of_override(event: RunEvent) -> None:
    """Notify the subscribers who can see the deployment."""
    change = change_of(event)
    by, reason = event.data["by"], event.data["reason"]
    # Rules are never overridden: the runs are of one environment.
    if change.environment is None:
        return
    notify(
        Topic.BREAK_GLASS,
        change.environment,
        f"Emergency override: {change.title}",
        f"{by} started {change.summary} without approval. Reason: {reason}. Someone else must review it.",
        target=change.subject,
        may=can_see(change),
    )


def notify_of_definition(event: RunEvent) -> None:
    run_request = request_of(event)
    notify_overseers(
        Topic.DEFINITION,
        [run_request.environment],
        f"Changed after approval: {run_request.spec.deployment_name} in {run_request.change.environment_name}",
        f"The deployment of request {run_request.pk} was changed in Prefect between its approval and the start of "
        "its run. The run may have executed other code than was approved.",
        target=run_request,
        may=can_see(run_request.change),
        also=[approval.by for approval in run_request.change.approvals.filter(approved=True).select_related("by")],
    )


def can_see(change: ChangeRequest) -> Callable[[User], bool]:
    """Return whether a person can see everything that the change request would run."""
    deployments = [spec.deployment for spec in specs_of(change)]

    def may(person: User) -> bool:
        permissions = Permissions.of_person(person)
        return all(permissions.decide(Verb.SEE, deployment) for deployment in deployments)

    return may


def specs_of(change: ChangeRequest) -> QuerySet[RunSpec]:
    return change.specs.select_related("deployment__environment")


def notify_of_stalls(event: RunEvent) -> None:
    """Queue one message about these runs to each subscriber who requested one of them or can act on it."""
    kinds: dict[int, str] = {pk: Stall(kind).label for pk, kind in event.data["runs"]}
    rows = Run.objects.filter(pk__in=kinds).order_by("pk")
    # What decides about a run is small; the schema of a deployment is not.
    runs = list(
        rows.select_related("environment", "access_deployment__environment", "run_request__change").defer(
            "parameters",
            "access_deployment__parameter_schema",
            "access_deployment__parameter_defaults",
        )
    )
    environment = environment_of(event)
    if not runs or environment is None:
        return

    def message(person: User) -> Message | None:
        permissions = Permissions.of_person(person)
        theirs = [run for run in runs if is_for(run, person, permissions)]
        if not theirs:
            return None
        lines = [f"- {run} ({run.what}): {kinds[run.pk]}" for run in theirs]
        more = len(lines) - MOST_NAMED
        return Message(
            f"{plural(len(theirs), 'stalled run')} in {environment}",
            "\n".join([*lines[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])]),
            theirs[0] if len(theirs) == 1 else None,
        )

    notify_each(Topic.STALLED, environment, message)


def notify_of_failure(event: RunEvent) -> None:
    """Queue one message about a failure group to each subscriber who can see its deployment."""
    rows = FailureGroup.objects.select_related("environment", "access_deployment__environment")
    group = rows.filter(pk=event.data["group"]).first()
    if group is None:
        return
    is_back = event.kind == Kind.FAILURE_REGRESSED
    what = "Failed again after it was resolved" if is_back else "New failure"

    def message(person: User) -> Message | None:
        permissions = Permissions.of_person(person)
        if not permissions.decide(Verb.SEE, failures.target_of(group)):
            return None
        # The message quotes the log.
        reason = group.title if failures.sees_message(permissions, group) else ""
        lines = [f"{what} of {group} in {group.environment}.", *([f"Reason: {reason}"] if reason else [])]
        lines += ["", "More failures of this kind are counted there. You are not notified of each of them."]
        return Message(f"{what}: {group.what} in {group.environment}", "\n".join(lines), group)

    notify_each(Topic.FAILURE, group.environment, message)


def notify_of_breaches(event: RunEvent) -> None:
    """Queue one message about a breached level to each subscriber who can see one of the deployments."""
    level = ServiceLevel.objects.select_related("environment").filter(pk=event.data["level"]).first()
    rows = Breach.objects.select_related("deployment__environment").filter(pk__in=event.data["breaches"])
    # What decides about a deployment is small; its schema is not.
    rows = rows.defer("deployment__parameter_schema", "deployment__definition")
    breaches = list(rows.order_by("deployment__full_name", "pk"))
    if level is None:
        return

    def message(person: User) -> Message | None:
        permissions = Permissions.of_person(person)
        theirs = [each for each in breaches if permissions.decide(Verb.SEE, each.deployment)]
        if not theirs:
            return None
        lines = [f"- {each.deployment}" for each in theirs]
        more = len(lines) - MOST_NAMED
        text = [f"{level.sentence}:", *lines[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])]
        text += ["", f"Runbook: {level.runbook}"] if level.runbook else []
        return Message(f"Service level breached in {level.environment}: {level.sentence}", "\n".join(text), level)

    notify_each(Topic.LEVEL, level.environment, message)


def is_for(run: Run, person: User, permissions: Permissions) -> bool:
    """Return whether the person requested the run, or can cancel it."""
    run_request = getattr(run, "run_request", None)
    is_own = run_request is not None and run_request.change.requested_by_id == person.pk
    return is_own or permissions.decide(Verb.CANCEL, Target.of_run(run)).allowed


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
        lambda names: f"The rules of {names} were changed in the database, past the portal. Find out who did it.",
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


def notify_of_schedule(event: RunEvent) -> None:
    """Notify the owner of a schedule, those who approved it, and the subscribers who can see its deployment."""
    change, facts = change_of(event), event.data
    if change.environment is None:
        return
    what, text = SCHEDULE_TEXTS[event.kind](facts)
    name = f"Schedule {facts['name']} of {change.title}"
    people = [change.requested_by, change.on_behalf_of]
    people += [approval.by for approval in change.approvals.filter(approved=True).select_related("by")]
    notify_concerned(
        Topic.SCHEDULE,
        change.environment,
        f"{name} {what}",
        f"{text} Its owner is {change.requester}.",
        target=Schedule.objects.get(pk=facts["schedule"]),
        people=[person for person in people if person],
        may=can_see(change),
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


def notify_of_bypasses(event: RunEvent) -> None:
    if environment := environment_of(event):
        more = f"\nand {event.data['more']} more" if event.data["more"] else ""
        text = f"Runs can start in {environment} without the portal:"
        lines = "\n".join([text, "", *event.data["lines"]])
        subject = f"New ways past the portal in {environment}"
        notify_overseers(Topic.RULES, [environment], subject, f"{lines}{more}")


NOTICES: dict[str, Callable[[RunEvent], None]] = {
    Kind.REQUEST_WAITING: notify_approvers,
    Kind.REQUEST_APPROVED: notify_requester,
    Kind.REQUEST_REJECTED: notify_requester,
    Kind.REQUEST_LOST: notify_of_loss,
    Kind.STEP_WAITING: notify_at_gate,
    Kind.BACKFILL_STOPPED: notify_of_stop,
    Kind.OVERRIDE_USED: notify_of_override,
    Kind.DEFINITION_MOVED: notify_of_definition,
    Kind.RUNS_STALLED: notify_of_stalls,
    Kind.FAILURE_APPEARED: notify_of_failure,
    Kind.FAILURE_REGRESSED: notify_of_failure,
    Kind.LEVEL_BREACHED: notify_of_breaches,
    Kind.FREEZE_STARTED: notify_of_freeze,
    Kind.FREEZE_ENDED: notify_of_freeze,
    Kind.RULES_LOOSENED: notify_of_loosening,
    Kind.RULES_CHANGED_OUTSIDE: notify_of_outside_changes,
    Kind.ENVIRONMENT_DISABLED: notify_of_disabling,
    Kind.SCHEDULE_PAUSED: notify_of_schedule,
    Kind.SCHEDULE_MISSED: notify_of_schedule,
    Kind.SCHEDULE_ENDING: notify_of_schedule,
    Kind.BYPASS_FOUND: notify_of_bypasses,
}
