"""Postpone or cancel runs that Prefect would start outside their change windows.

Prefect plans the runs of its own schedules up to 100 days ahead and starts them without asking the portal.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from flows.models import Environment
from flows.prefect_api import connect
from flows.prefect_api.records import NotFound, Rejected
from runs import audit, mirror
from runs.access.decisions import Target
from runs.actors import Actor
from runs.governance.requirements import requirements_for
from runs.governance.windows import Calendar
from runs.models import Run

# How far ahead runs are checked. Windows can change until a later one is due, and the check runs twice a minute.
AHEAD = timedelta(minutes=5)
# By how much to postpone when it is not known when the window opens.
WITHOUT_OPENING = timedelta(minutes=10)


def postpone(environment: Environment) -> int:
    """Postpone the runs of Prefect's schedules that would start outside their windows; return how many.

    Where the policy refuses such runs, they are cancelled. Raises `PrefectError`; the rest is done by the next call.
    """
    count = 0
    for run in too_early(environment):
        count += hold_back(run)
    return count


def too_early(environment: Environment) -> Iterator[Run]:
    """Yield the external runs that are about to start but are not allowed to."""
    now = timezone.now()
    soon = Run.objects.filter(
        Q(expected_start_at=None) | Q(expected_start_at__lte=now + AHEAD),
        environment=environment,
        deployment__isnull=False,
        state_type="SCHEDULED",
        started_at=None,
        created_by_portal=False,
        deleted_upstream_at=None,
    ).select_related("environment", "deployment__environment")
    # Many runs share a deployment: its windows are read once.
    calendars: dict[int, Calendar] = {}
    for run in soon:
        if run.deployment and run.deployment.pk not in calendars:
            calendars[run.deployment.pk] = Calendar.of(Target.of(run.deployment))
        if run.deployment and not calendars[run.deployment.pk].at(max(run.expected_start_at or now, now)):
            yield run


def hold_back(run: Run) -> bool:
    """Postpone or cancel one run and record it; return False if it, or what closed its window, is gone meanwhile."""
    # 1. Read the run again: a worker may have taken it meanwhile, and a run that is put back then can run twice.
    client = connect.client_for(run.environment.server)
    mirror.refresh_state(run.environment, [run.prefect_id])
    earlier, state = run.expected_start_at, run.state_id
    run.refresh_from_db()
    if run.deleted_upstream_at or run.state_id != state or not run.deployment:
        return False
    # 2. The windows too: many runs take minutes, and a freeze may have ended.
    target, now = Target.of(run.deployment), timezone.now()
    standing = Calendar.of(target).at(max(run.expected_start_at or now, now))
    if standing:
        return False
    # 3. Postpone or cancel it.
    refuses = requirements_for(target).refuse_outside_window
    until = standing.opens_at or now + WITHOUT_OPENING
    try:
        if refuses:
            client.cancel(run.prefect_id)
        else:
            client.reschedule(run.prefect_id, until, standing.sentence)
    except (NotFound, Rejected):
        return False
    # 4. Record it, and show the new time.
    verb = "run.skipped" if refuses else "run.postponed"
    with audit.act(verb, run, by=Actor.system(), reason=standing.sentence, environment=run.environment.slug) as act:
        act.before = {"planned": earlier}
        act.after = {"planned": None if refuses else until}
    mirror.refresh_state(run.environment, [run.prefect_id])
    return True
