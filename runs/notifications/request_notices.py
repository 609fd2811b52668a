"""Messages about change requests: what waits, what was decided and what stopped."""

from __future__ import annotations

from django.contrib.auth.models import Group

from flows.models import Environment
from flows.wording import deployment_name, plural
from runs import requests
from runs.access.decisions import Target
from runs.changes.stages import steps
from runs.models import ChangeRequest, NotificationRule, RunEvent, Verb
from runs.models.notification import Topic
from runs.notifications.audience import Listener, everyone, receivers_of
from runs.notifications.escalation import is_waiting_at
from runs.notifications.event_subjects import can_see, change_of, request_of, specs_of, targets_of
from runs.notifications.recipients import notify, notify_overseers, notify_person
from runs.notifications.services import create

Kind = RunEvent.Kind


def notify_approvers(event: RunEvent) -> None:
    """Notify those who can see and approve the current stage: those in its group, or anyone if it has none."""
    change = change_of(event)
    if change.environment is None or change.kind == ChangeRequest.Kind.RULES:
        notify_signers(change)
        return
    specs = [(spec.deployment, requests.spec_values(spec)) for spec in specs_of(change)]
    group = event.data["group"]
    # They can neither approve their own request nor approve twice.
    others = {change.requested_by_id, change.on_behalf_of_id}
    others |= set(change.approvals.values_list("by", flat=True))
    people = everyone()
    if group:
        people &= set(Group.objects.filter(name=group).values_list("user", flat=True))

    sees = can_see(change)

    def may(listener: Listener) -> bool:
        if listener.key in others or listener.key not in people:
            return False
        # One can be allowed to approve what one is forbidden to see, and then finds no page to do it on.
        return sees(listener) and all(listener.can(Verb.APPROVE, deployment, values) for deployment, values in specs)

    notify(
        Topic.WAITING,
        change.environment,
        f"Approval needed: {change.title}",
        f"{change.requester} requested {change.summary}. Reason: {change.reason or 'none given'}.",
        target=change.subject,
        about=targets_of(change),
        may=may,
        default_to=people,
    )


def notify_of_overdue(event: RunEvent) -> None:
    """Notify the receivers of a rule who can see a request of which nobody has decided the stage in its time."""
    change = change_of(event)
    rule = NotificationRule.objects.filter(pk=event.data["rule"], removed_at=None).first()
    # Not of a stage that was approved since.
    is_waiting = change.state == ChangeRequest.State.WAITING and is_waiting_at(change, event.data["stage"])
    if rule is None or not is_waiting:
        return
    may, stages = can_see(change), len(steps(change))
    of_stages = f" on stage {event.data['stage'] + 1} of {stages}" if stages > 1 else ""
    for listener in receivers_of(rule):
        # They cannot decide their own request.
        is_own = listener.person is not None and listener.key in (change.requested_by_id, change.on_behalf_of_id)
        if may(listener) and not is_own:
            create(
                listener.person,
                Topic.WAITING,
                change.environment,
                f"Still waiting for approval: {change.title}",
                f"Nobody has decided{of_stages} for {plural(event.data['minutes'], 'minute')}. {change.requester} "
                f"requested {change.summary}. Reason: {change.reason or 'none given'}.",
                change.subject,
                listener.channels,
            )


def notify_at_gate(event: RunEvent) -> None:
    """Notify those who can decide about a step of a chain that waits at its gate."""
    run_request = request_of(event)
    change, verb = run_request.change, Verb.TRIGGER
    others: set[int | None] = set()
    if change.needs_approval:
        verb, others = Verb.APPROVE, {change.requested_by_id, change.on_behalf_of_id}
    values = requests.values_of(run_request)

    sees = can_see(change)

    def may(listener: Listener) -> bool:
        return listener.key not in others and sees(listener) and listener.can(verb, run_request.deployment, values)

    notify(
        Topic.WAITING,
        run_request.environment,
        f"Decision needed: {deployment_name(run_request.spec.deployment_name)} in {change.environment_name}",
        f"A step of the chain that {change.requester} requested waits at its gate: request {run_request.pk}.",
        target=change,
        about=[Target.of(run_request.deployment)],
        may=may,
        default_to=everyone() if change.needs_approval else {change.requested_by_id or 0, change.on_behalf_of_id or 0},
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
        # Others are notified when it takes effect: they cannot see it before.
        only_overseers=True,
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
            about=targets_of(change),
            target=change.subject,
        )


def notify_of_loss(event: RunEvent) -> None:
    """Notify the requester that the run was deleted in Prefect before it ended."""
    run_request = request_of(event)
    name = deployment_name(run_request.spec.deployment_name)
    if requester := run_request.change.requested_by:
        notify_person(
            Topic.STALLED,
            run_request.environment,
            requester,
            f"{name} in {run_request.change.environment_name}: run deleted in Prefect",
            f"Request {run_request.pk}: {event.data['message']}",
            about=[Target.of(run_request.deployment)],
            target=run_request,
        )


def notify_of_stop(event: RunEvent) -> None:
    """Notify the requester of a backfill or chain, its approvers and subscribers who can see it that it stopped."""
    change = change_of(event)
    if change.environment is None:
        return
    approvals = change.approvals.filter(approved=True).select_related("by")
    people = [*([change.requested_by] if change.requested_by else []), *(approval.by for approval in approvals)]
    notify(
        Topic.STOPPED,
        change.environment,
        f"{change.get_kind_display()} stopped: {change.title}",
        f"{event.data['message']} Nothing more of request {change.pk} starts until someone resumes it, or cancels the "
        "rest.",
        target=change.subject,
        about=targets_of(change),
        may=can_see(change),
        also=people,
    )


def notify_of_override(event: RunEvent) -> None:
    """Notify all administrators and auditors, and those who chose it and can see the deployment."""
    change = change_of(event)
    by, reason = event.data["by"], event.data["reason"]
    # Rules are never overridden: the runs are of one environment.
    if change.environment is None:
        return
    notify_overseers(
        Topic.BREAK_GLASS,
        [change.environment],
        f"Emergency override: {change.title}",
        f"{by} started {change.summary} without approval. Reason: {reason}. Someone else must review it.",
        target=change.subject,
        about=targets_of(change),
        may=can_see(change),
    )


def notify_of_definition(event: RunEvent) -> None:
    run_request = request_of(event)
    name = deployment_name(run_request.spec.deployment_name)
    notify_overseers(
        Topic.DEFINITION,
        [run_request.environment],
        f"Changed after approval: {name} in {run_request.change.environment_name}",
        f"The deployment of request {run_request.pk} was changed in Prefect between its approval and the start of "
        "its run. The run may have executed other code than was approved.",
        target=run_request,
        about=[Target.of(run_request.deployment)],
        may=can_see(run_request.change),
        also=[approval.by for approval in run_request.change.approvals.filter(approved=True).select_related("by")],
    )
