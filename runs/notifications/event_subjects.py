"""What an event is about, read when it is handled, and who sees it."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import QuerySet

from flows.models import Environment
from runs.access.decisions import Target
from runs.models import ChangeRequest, RunEvent, RunRequest, RunSpec
from runs.notifications.audience import Listener


def request_of(event: RunEvent) -> RunRequest:
    found = RunRequest.objects.select_related("environment", "deployment__environment", "change__requested_by", "spec")
    return found.get(pk=event.request_id or 0)


def change_of(event: RunEvent) -> ChangeRequest:
    return ChangeRequest.objects.select_related("environment", "requested_by").get(pk=event.change_id or 0)


def environment_of(event: RunEvent) -> Environment | None:
    """Return the environment; None if it was deleted since, which is possible as long as it was never used."""
    return Environment.objects.filter(pk=event.environment_id or 0).first()


def can_see(change: ChangeRequest) -> Callable[[Listener], bool]:
    """Return whether a person can see everything that the change request would run."""
    targets = targets_of(change)

    def may(listener: Listener) -> bool:
        return all(map(listener.sees, targets))

    return may


def targets_of(change: ChangeRequest) -> list[Target]:
    """Return what the change request would run, each deployment once; of rules nothing."""
    return list(dict.fromkeys(Target.of(spec.deployment) for spec in specs_of(change)))


def specs_of(change: ChangeRequest) -> QuerySet[RunSpec]:
    return change.specs.select_related("deployment__environment")
