"""Answering requests, going around the rules where that is allowed, freezing, and reading the calendar."""

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
from runs.desk.queries import deployment, environment, status
from runs.errors import Refused
from runs.governance import freezes, windows
from runs.governance.requirements import applicable, visible
from runs.models import BreakGlass, Freeze, RunRequest, Window

Reference = int | RunRequest


def inbox(*, by: Actor) -> list[RunRequest]:
    """The requests that wait for an answer of this person, the most urgent first."""
    found = RunRequest.objects.filter(pk__in=waiting_for(Permissions.of(by.user))).order_by("expires_at", "pk")
    return list(found.select_related("environment", "deployment__environment", "run"))


def approve(reference: Reference, *, by: Actor, reason: str = "", displayed_digest: str | None = None) -> RunRequest:
    """Approve a request; with `displayed_digest` only if it is exactly what was looked at."""
    run_request = status(reference, by=by)
    runs_changes.approve(run_request, by=by, reason=reason, displayed_digest=displayed_digest)
    return status(run_request)


def reject(reference: Reference, *, by: Actor, reason: str) -> RunRequest:
    run_request = status(reference, by=by)
    runs_changes.reject(run_request, by=by, reason=reason)
    return status(run_request)


def comment(reference: Reference, text: str, *, by: Actor) -> RunRequest:
    run_request = status(reference, by=by)
    runs_changes.comment(run_request, text, by=by)
    return status(run_request)


def withdraw(reference: Reference, *, by: Actor, reason: str = "") -> RunRequest:
    run_request = status(reference, by=by)
    runs_changes.withdraw(run_request, by=by, reason=reason)
    return status(run_request)


def rerun(
    reference: Reference,
    *,
    by: Actor,
    changes: Mapping[str, JSON] | None = None,
    reason: str = "",
    ticket: str = "",
) -> RunRequest:
    """Ask for the run of a request once more, with its secret values unseen; a new request."""
    return status(requests.rerun(status(reference, by=by), by=by, changes=changes or {}, reason=reason, ticket=ticket))


def override(reference: Reference, *, by: Actor, reason: str) -> RunRequest:
    """Let a request go now that waits for a change window or the end of a freeze."""
    run_request = status(reference, by=by)
    runs_changes.override(run_request, by=by, reason=reason)
    return status(run_request)


def break_glass(reference: Reference, *, by: Actor, reason: str, minutes: int = 15) -> RunRequest:
    """Let a waiting request go without its approvals; somebody else has to review it afterwards."""
    run_request = status(reference, by=by)
    runs_changes.break_glass(run_request, by=by, reason=reason, minutes=minutes)
    return status(run_request)


def review(reference: Reference, *, by: Actor, was_right: bool, text: str) -> RunRequest:
    """Say whether breaking the glass was right."""
    run_request = status(reference, by=by)
    row = BreakGlass.objects.select_related("run_request__environment", "run_request__deployment__environment")
    broken = row.filter(run_request=run_request).first()
    if broken is None:
        raise Refused("override.none", f"Request {run_request.pk} has no emergency override.")
    runs_changes.review(broken, by=by, was_right=was_right, text=text)
    return status(run_request)


def freeze(name: str, *, by: Actor, reason: str, ticket: str = "", until: datetime | None = None) -> Freeze:
    """Let no run start in an environment, until it is lifted or that moment has come."""
    return freezes.freeze(environment(name, by=by), by=by, reason=reason, ticket=ticket, until=until)


def unfreeze(name: str, *, by: Actor, reason: str = "", ticket: str = "") -> Environment:
    place = environment(name, by=by)
    freezes.unfreeze(place, by=by, reason=reason, ticket=ticket)
    return place


@dataclass(frozen=True, slots=True)
class Hours:
    """One change window as it stands now; `changes_at` is when that ends, None when nobody can say."""

    window: Window
    is_open: bool
    changes_at: datetime | None


@dataclass(frozen=True, slots=True)
class Opening:
    """When runs may start in a place; the standing of an environment is that of what has no windows of its own."""

    place: Environment
    standing: windows.Standing
    freeze: Freeze | None
    hours: tuple[Hours, ...]


def calendar(name: str, deployment_name: str = "", *, by: Actor | None = None, at: datetime | None = None) -> Opening:
    """The windows and freezes of a deployment, or of everything in an environment, and whether runs may start."""
    place = environment(name, by=by)
    moment = at or timezone.now()
    if deployment_name:
        target = Target.of(deployment(name, deployment_name, by=by))
        rows = list(windows.Calendar.of(target).windows)
    else:
        target = Target.whole(place)
        rows = list(Window.objects.filter(applicable(place), is_active=True).select_related("environment"))
    if by:
        rows = visible(rows, Permissions.of(by.user))
    hours = (Hours(row, *windows.hours(row, moment)) for row in rows)
    return Opening(place, windows.standing(target, moment), freezes.freeze_of(place), tuple(hours))


def rotate_keys() -> dict[str, int]:
    """Encrypt every stored secret with the first key of PORTAL_FIELD_KEYS; how many of which."""
    return key_rotation.rotate(by=Actor.system("command line"))
