"""Context of the page of a failure group; everything is read from Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import formats, timezone

from flows.plain_text import prose
from portal.admin.moment_field import FORMAT
from portal.ui import charts, tables
from portal.ui.run_links import runs_url
from runs import failures
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.models import FailureGroup, Run, Verb

LAST_RUNS, LAST_ACTS, ELSEWHERE = 10, 50, 5
DAYS = 30
USUAL_MUTE = timedelta(days=7)
# What marking as known means in each state; nothing where it is known.
KNOWN_LABELS: dict[str, str] = {
    FailureGroup.State.NEW: "Acknowledge",
    FailureGroup.State.REGRESSED: "Acknowledge",
    FailureGroup.State.MUTED: "Unmute",
    FailureGroup.State.RESOLVED: "Reopen",
}


@dataclass(frozen=True, slots=True)
class Day:
    """One bar: the failures of a day, and the list of those of its runs that there still are."""

    label: str
    number: int
    url: str


def context(group: FailureGroup, by: Actor, permissions: Permissions) -> dict[str, Any]:
    """Build the template context; select the environment, the deployment and the owner with the group."""
    sees_logs = failures.sees_message(permissions, group)
    visible = permissions.q(Verb.SEE, deployment="access_deployment__")
    runs = Run.objects.filter(visible, failure__group=group).order_by("-failure__failed_at", "-pk")
    days = days_of(group)
    state = group.shown_state
    may_act = failures.can_act(permissions, group)
    return {
        "group": group,
        "reason": group.title if sees_logs else "",
        "message": prose(group.message) if sees_logs else "",
        "sees_logs": sees_logs,
        "Verb": Verb,
        "days": days,
        "chart": chart(days),
        "span": DAYS,
        "runs": tables.RunTable(runs.select_related("environment")[:LAST_RUNS]),
        "runs_url": runs_url(failure=str(group.pk)),
        "elsewhere": list(elsewhere(group, by, permissions)) if sees_logs else [],
        "acts": group.acts.all()[:LAST_ACTS],
        "may_act": may_act,
        "is_own": by.is_same_person_as(group.owner_id),
        "me": by.user.get_username(),
        "known_label": KNOWN_LABELS.get(state, ""),
        "may_resolve": state != FailureGroup.State.RESOLVED,
        "may_mute": state != FailureGroup.State.RESOLVED,
        "mute_until": timezone.localtime(timezone.now() + USUAL_MUTE).strftime(FORMAT),
        "time_zone": timezone.get_current_timezone_name(),
        "needs": failures.ACTS.label,
        "to_retry": to_retry(group, permissions),
    }


def to_retry(group: FailureGroup, permissions: Permissions) -> list[int]:
    """Return the keys of the runs that the list action gets, which asks for a reason and says what is not possible."""
    if not (permissions.can_any(Verb.RERUN) or permissions.can_any(Verb.TRIGGER)):
        return []
    return list(failures.retryable_runs(group, permissions).values_list("pk", flat=True)[: failures.MOST_AT_ONCE])


def elsewhere(group: FailureGroup, by: Actor, permissions: Permissions) -> QuerySet[FailureGroup]:
    """Return the groups of other deployments and environments that failed with the same words."""
    messages = permissions.q(Verb.SEE_LOGS, deployment="access_deployment__")
    same = failures.FAILURES.rows(by, permissions=permissions).filter(messages, exception=group.exception)
    return same.filter(pattern=group.pattern).exclude(pk=group.pk).order_by("-last_seen_at", "-pk")[:ELSEWHERE]


def days_of(group: FailureGroup) -> list[Day]:
    """Return the last days in the portal's time zone, today included."""
    zone = timezone.get_default_timezone()
    today = timezone.localdate(timezone=zone)
    first = today - timedelta(days=DAYS - 1)
    numbers = dict(group.days.filter(day__gte=first).values_list("day", "number"))
    return [day_of(group, first + timedelta(days=step), numbers) for step in range(DAYS)]


def day_of(group: FailureGroup, day: date, numbers: dict[date, int]) -> Day:
    def midnight(at: date) -> datetime:
        return timezone.make_aware(datetime.combine(at, time.min), timezone.get_default_timezone())

    url = runs_url(failure=str(group.pk), ended_from=midnight(day), ended_to=midnight(day + timedelta(days=1)))
    return Day(formats.date_format(day, "j M"), numbers.get(day, 0), url)


def chart(days: Sequence[Day]) -> str:
    """Draw the failures by day."""
    total = sum(day.number for day in days)
    series = [charts.Series("Failures", "red", tuple(day.number for day in days))]
    title = f"{total:,} failures in the last {DAYS} days, by day"
    return charts.stacked_bars(title, [day.label for day in days], series, [day.url for day in days])
