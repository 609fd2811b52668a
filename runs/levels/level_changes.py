"""Create and remove service levels: the only code that writes `ServiceLevel`."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.utils import timezone

from flows.db_text import sanitize
from flows.models import Deployment, Environment
from runs import audit
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.errors import Refused
from runs.levels import evaluation
from runs.models import ServiceLevel, Verb

Kind = ServiceLevel.Kind
# kind -> the unit of its threshold, and the highest one
UNITS: dict[Kind, tuple[str, float]] = {
    Kind.LATE: ("minutes after the scheduled time", 7 * 24 * 60),
    Kind.LONG: ("minutes", 30 * 24 * 60),
    Kind.UNUSUAL: ("times the 95th percentile of the last 30 days", 100),
    Kind.SILENT: ("hours", 366 * 24),
    Kind.FAILING: ("percent", 99.9),
}
MOST_DAYS = 30
check_url = URLValidator(["http", "https"])


def target_of(environment: Environment, full_name: str) -> Target:
    """Return what a level is about: a deployment, or the whole environment, also where a tag narrows it down."""
    if not full_name:
        return Target.whole(environment)
    named = Deployment.objects.filter(environment=environment, full_name=full_name).order_by("-synced_at", "-pk")
    tags = named.values_list("tags", flat=True).first() or ()
    return Target(environment, full_name.partition("/")[0], full_name, tuple(tags))


def can_manage(permissions: Permissions, level: ServiceLevel) -> bool:
    return permissions.decide(Verb.MANAGE, target_of(level.environment, level.full_name)).allowed


def create(
    environment: Environment,
    *,
    by: Actor,
    kind: str,
    threshold: float,
    full_name: str = "",
    tag: str = "",
    days: int = 0,
    owner: User | None = None,
    runbook: str = "",
) -> ServiceLevel:
    """Create a service level; requires `manage` for the deployment, or for all of the environment.

    It changes no rules: nothing starts or stops by it. Raises `Forbidden`, or `Refused` with code `level.…`.
    """
    full_name, tag, runbook = (sanitize(text.strip()) for text in (full_name, tag, runbook))
    names = {"subject_kind": "servicelevel", "environment": environment.slug}
    with audit.act("level.create", None, by=by, **names) as act:
        target = target_of(environment, full_name)
        Permissions.of(by).require(Verb.MANAGE, target)
        level = ServiceLevel(environment=environment, full_name=full_name[:601], tag=tag[:300], runbook=runbook)
        level.kind, level.threshold, level.days = checked(kind, threshold, days)
        seen = Permissions.of(by).deployments().filter(environment=environment, full_name=full_name)
        if full_name and not seen.exists():
            raise Refused("level.deployment", f"There is no deployment {full_name} in {environment}.")
        require_runbook(runbook)
        if owner and not Permissions.of_person(owner).decide(Verb.SEE, target):
            raise Refused("level.owner", f"{owner} cannot see {target}. Choose someone who can.")
        level.owner, level.created_by_name = owner, by.name
        level.save(force_insert=True)
        act.subject, act.after = level, describe(level)
    return level


def checked(kind: str, threshold: float, days: int) -> tuple[Kind, float, int]:
    if kind not in Kind.values:
        raise Refused("level.kind", f"“{kind}” is not a kind of service level: {', '.join(Kind.values)}.")
    found = Kind(kind)
    unit, most = UNITS[found]
    # Also refuses what is not a number.
    if not 0 < threshold <= most:
        raise Refused("level.threshold", f"The threshold is above 0 and at most {most:g} {unit}.")
    if found == Kind.FAILING and not 1 <= days <= MOST_DAYS:
        raise Refused("level.days", f"The share is of the runs of 1 to {MOST_DAYS} days.")
    return found, threshold, days if found == Kind.FAILING else 0


def require_runbook(address: str) -> None:
    try:
        if address:
            check_url(address)
    except ValidationError as error:
        raise Refused("level.runbook", "The runbook is an address that begins with https:// or http://.") from error
    if len(address) > 500:
        raise Refused("level.runbook", "The address of the runbook is longer than 500 characters.")


def remove(level: ServiceLevel, *, by: Actor, reason: str = "") -> ServiceLevel:
    """Remove a service level, and clear its open breaches; its history stays. Raises `Forbidden` or `Refused`."""
    names = {"subject_kind": "servicelevel", "environment": level.environment.slug}
    with audit.act("level.remove", level, by=by, reason=reason, **names) as act:
        rows = ServiceLevel.objects.select_related("environment", "owner").select_for_update(of=["self"])
        locked = rows.get(pk=level.pk)
        Permissions.of(by).require(Verb.MANAGE, target_of(locked.environment, locked.full_name))
        if locked.removed_at:
            raise Refused("level.removed", f"{locked.removed_by_name} has removed this service level already.")
        act.before = describe(locked)
        locked.removed_at, locked.removed_by_name = timezone.now(), by.name
        locked.save()
        if cleared := evaluation.clear(locked):
            evaluation.record({(False, locked.pk): cleared})
        act.after = {"cleared": len(cleared)}
    return locked


def describe(level: ServiceLevel) -> dict[str, Any]:
    return {
        "kind": level.kind,
        "threshold": level.threshold,
        "days": level.days,
        "deployment": level.full_name,
        "tag": level.tag,
        "owner": level.owner.get_username() if level.owner else "",
        "runbook": level.runbook,
    }
