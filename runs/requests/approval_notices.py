"""Notifies the people whose approval a request needs now."""

from __future__ import annotations

from django.contrib.auth.models import User

from runs import notifications
from runs.access.decisions import Permissions
from runs.models import ChangeRequest, Verb
from runs.models.notification import Topic
from runs.requests.frozen_values import spec_values


def notify_approvers(change: ChangeRequest, *, group: str) -> None:
    """Notify the subscribers who can approve the current stage, which is for `group`, or for anyone if it is empty."""
    specs = [(spec.deployment, spec_values(spec)) for spec in change.specs.select_related("deployment__environment")]
    # They can neither approve their own request nor approve twice.
    others = {change.requested_by_id, change.on_behalf_of_id}
    others |= set(change.approvals.values_list("by", flat=True))

    def may(person: User) -> bool:
        if person.pk in others or (group and not person.groups.filter(name=group).exists()):
            return False
        permissions = Permissions.of_person(person)
        return all(permissions.decide(Verb.APPROVE, deployment, values) for deployment, values in specs)

    notifications.notify(
        Topic.WAITING,
        change.environment,
        f"Approval needed: {change.title}",
        f"{change.requested_by_name} requested {change.summary}. Reason: {change.reason or 'none given'}.",
        target=change.subject,
        may=may,
    )
