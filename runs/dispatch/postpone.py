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
from runs.governance.windows import Calendar, Standing
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
    for run, standing in too_early(environment):
        count += hold_back(run, standing)
    return count


def too_early(environment: Environment) -> Iterator[tuple[Run, Standing]]:
    """Yield the external runs that are about to start but are not allowed to, with the reason."""
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
        if run.deployment:
            standing = calendars[run.deployment.pk].at(max(run.expected_start_at or now, now))
            if not standing:
                yield run, standing


def hold_back(run: Run, standing: Standing) -> bool:
    """Postpone or cancel one run and record it; return False if it has changed or gone meanwhile."""
    # 1. Read the run again: a worker may have taken it meanwhile, and a run that is put back then can run twice.
    client = connect.client_for(run.environment)
    mirror.refresh_state(run.environment, [run.prefect_id])
    earlier, state = run.expected_start_at, run.state_id
    run.refresh_from_db()
    if run.deleted_upstream_at or run.state_id != state:
        return False
    # 2. Postpone or cancel it.
    refuses = bool(run.deployment and requirements_for(Target.of(run.deployment)).refuse_outside_window)
    until = standing.opens_at or timezone.now() + WITHOUT_OPENING
    try:
        if refuses:
            client.cancel(run.prefect_id)
        else:
            client.reschedule(run.prefect_id, until, standing.sentence)
    except (NotFound, Rejected):
        return False
    # 3. Record it, and show the new time.
    verb = "run.skipped" if refuses else "run.postponed"
    with audit.act(verb, run, by=Actor.system(), reason=standing.sentence, environment=run.environment.slug) as act:
        act.before = {"planned": earlier}
        act.after = {"planned": None if refuses else until}
    mirror.refresh_state(run.environment, [run.prefect_id])
    return True
