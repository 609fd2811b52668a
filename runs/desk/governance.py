"""Approve and reject requests, override rules, freeze environments, and read the calendar, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from flows.models import Environment
from flows.prefect_api.records import JSON
from runs import changes as runs_changes
from runs import key_rotation, requests
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.changes.queries import waiting_for
from runs.desk.queries import status
from runs.errors import Refused
from runs.governance import freezes, rule_changes, windows
from runs.governance.requirements import applicable, visible
from runs.models import BreakGlass, ChangeRequest, Freeze, RunRequest, Window
from runs.names import deployment, environment

# A request by its number, or as an earlier call returned it.
Reference = int | RunRequest


def inbox(*, by: Actor) -> list[RunRequest]:
    """Return the requests that need this person's approval, those that expire first on top."""
    found = (
        RunRequest.objects.select_related("change", "spec")
        .filter(change__in=waiting_for(Permissions.of(by)))
        .order_by("change__expires_at", "pk")
    )
    return list(found.select_related("environment", "deployment__environment", "run"))


def approve(
    reference: Reference, *, by: Actor, reason: str = "", displayed_digest: str | None = None
) -> RunRequest | ChangeRequest:
    """Approve a request; with `displayed_digest` only if it is exactly the one that was displayed.

    The number can be that of a change of rules, which is returned then. So it is below.
    """
    found = request_of(reference, by=by)
    runs_changes.approve(change_of(found), by=by, reason=reason, displayed_digest=displayed_digest)
    return reread(found)


def reject(reference: Reference, *, by: Actor, reason: str) -> RunRequest | ChangeRequest:
    found = request_of(reference, by=by)
    runs_changes.reject(change_of(found), by=by, reason=reason)
    return reread(found)


def comment(reference: Reference, text: str, *, by: Actor) -> RunRequest | ChangeRequest:
    found = request_of(reference, by=by)
    runs_changes.comment(change_of(found), text, by=by)
    return reread(found)


def withdraw(reference: Reference, *, by: Actor, reason: str = "") -> RunRequest | ChangeRequest:
    found = request_of(reference, by=by)
    runs_changes.withdraw(change_of(found), by=by, reason=reason)
    return reread(found)


def request_of(reference: Reference, *, by: Actor) -> RunRequest | ChangeRequest:
    """Return a run request, or a change of rules, as far as the actor can see it; raises `NotVisible`."""
    if isinstance(reference, int):
        rules = ChangeRequest.objects.filter(rule_changes.visible_to(by), pk=reference).select_related("rule_change")
        if change := rules.first():
            return change
    return status(reference, by=by)


def change_of(found: RunRequest | ChangeRequest) -> ChangeRequest:
    return found.change if isinstance(found, RunRequest) else found


def reread(found: RunRequest | ChangeRequest) -> RunRequest | ChangeRequest:
    """Return it as it is now."""
    return status(found) if isinstance(found, RunRequest) else ChangeRequest.objects.get(pk=found.pk)


def rerun(
    reference: Reference,
    *,
    by: Actor,
    changes: Mapping[str, JSON] | None = None,
    reason: str = "",
    ticket: str = "",
    confirm: str = "",
) -> RunRequest:
    """Re-run a request as a new one; secret values are reused unseen. `confirm` as in `trigger`."""
    earlier = status(reference, by=by)
    return status(
        requests.rerun(earlier, by=by, changes=changes or {}, reason=reason, ticket=ticket, confirmation=confirm)
    )


def override(reference: Reference, *, by: Actor, reason: str) -> RunRequest:
    """Launch a request that waits for a change window or the end of a freeze."""
    run_request = status(reference, by=by)
    runs_changes.override(run_request, by=by, reason=reason)
    return status(run_request)


def break_glass(reference: Reference, *, by: Actor, reason: str, minutes: int = 15) -> RunRequest:
    """Launch a waiting request without its approvals; someone else must review that afterwards."""
    run_request = status(reference, by=by)
    runs_changes.break_glass(run_request.change, by=by, reason=reason, minutes=minutes)
    return status(run_request)


def review(reference: Reference, *, by: Actor, was_right: bool, text: str) -> RunRequest:
    """Record whether the emergency override of a request was justified."""
    run_request = status(reference, by=by)
    row = BreakGlass.objects.select_related("change__environment")
    bypass = row.filter(change=run_request.change_id).first()
    if bypass is None:
        raise Refused("override.none", f"Request {run_request.pk} has no emergency override.")
    runs_changes.review(bypass, by=by, was_right=was_right, text=text)
    return status(run_request)


def freeze(name: str, *, by: Actor, reason: str, ticket: str = "", until: datetime | None = None) -> Freeze:
    """Freeze an environment until it is unfrozen, or until a moment."""
    return freezes.freeze(environment(name, by=by), by=by, reason=reason, ticket=ticket, until=until)


def unfreeze(
    name: str, *, by: Actor, reason: str = "", ticket: str = "", confirm: str = ""
) -> Environment | ChangeRequest:
    """End a freeze; `confirm` is the name again where the environment is protected.

    There it waits for a second administrator, as the change request that is returned.
    """
    place = environment(name, by=by)
    return freezes.unfreeze(place, by=by, reason=reason, ticket=ticket, confirm=confirm) or place


@dataclass(frozen=True, slots=True)
class Hours:
    """Whether one change window is open; `changes_at` is when that changes, None when it is not known."""

    window: Window
    is_open: bool
    changes_at: datetime | None


@dataclass(frozen=True, slots=True)
class Opening:
    """When runs can start. For an environment, of deployments without narrower windows."""

    place: Environment
    standing: windows.Standing
    freeze: Freeze | None
    hours: tuple[Hours, ...]


def calendar(name: str, deployment_name: str = "", *, by: Actor | None = None, at: datetime | None = None) -> Opening:
    """Return whether runs of a deployment, or of an environment, can start, with the windows and the freeze."""
    place = environment(name, by=by)
    moment = at or timezone.now()
    if deployment_name:
        target = Target.of(deployment(name, deployment_name, by=by))
        rows = list(windows.Calendar.of(target).windows)
    else:
        target = Target.whole(place)
        rows = list(Window.objects.filter(applicable(place), is_active=True).select_related("environment"))
    # The decision uses all windows; those that name something invisible are only left out of the list.
    if by:
        rows = visible(rows, Permissions.of(by))
    hours = (Hours(row, *windows.hours(row, moment)) for row in rows)
    return Opening(place, windows.standing(target, moment), freezes.freeze_of(place), tuple(hours))


def rotate_keys() -> dict[str, int]:
    """Encrypt every stored secret with the first key of PORTAL_FIELD_KEYS; return how many of each kind."""
    # By the system: a process with the keys can read every secret, so a permission would protect nothing.
    return key_rotation.rotate(by=Actor.system("command line"))
