"""Notifies the people whose approval a request needs now."""

from __future__ import annotations

from django.contrib.auth.models import User

from runs import notifications
from runs.access.decisions import Permissions
from runs.models import RunRequest, Verb
from runs.models.notification import Topic
from runs.requests.frozen_values import values_of


def notify_approvers(run_request: RunRequest, *, group: str) -> None:
    """Notify the subscribers who can approve the current stage, which is for `group`, or for anyone if it is empty."""
    values = values_of(run_request)
    # They can neither approve their own request nor approve twice.
    others = {run_request.requested_by_id, run_request.on_behalf_of_id}
    others |= set(run_request.approvals.values_list("by", flat=True))

    def may(person: User) -> bool:
        if person.pk in others or (group and not person.groups.filter(name=group).exists()):
            return False
        return Permissions.of_person(person).decide(Verb.APPROVE, run_request.deployment, values).allowed

    notifications.notify(
        Topic.WAITING,
        run_request.environment,
        f"Approval needed: {run_request.deployment_name} in {run_request.environment_name}",
        f"{run_request.requested_by_name} requested a run of {run_request.deployment_name} in "
        f"{run_request.environment_name}. Reason: {run_request.reason or 'none given'}.",
        target=run_request,
        may=may,
    )
