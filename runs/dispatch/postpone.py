"""Holding back what Prefect would start by itself outside its change windows."""

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

# Later ones are left alone: windows may change until then, and they are looked at twice a minute.
AHEAD = timedelta(minutes=5)
# When to look again at what nobody can give a time.
UNTIL_SOMEBODY_CAN_SAY = timedelta(minutes=10)


def postpone(environment: Environment) -> int:
    """Give another time to the runs of Prefect's own that would start outside their windows; returns how many.

    Where the rules refuse instead, such a run is cancelled. Raises `PrefectError`; what is left comes with the next
    call.
    """
    count = 0
    for run, standing in too_early(environment):
        count += hold_back(run, standing)
    return count


def too_early(environment: Environment) -> Iterator[tuple[Run, Standing]]:
    """The runs that nobody asked for here, are about to start, and may not."""
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
    calendars: dict[int, Calendar] = {}
    for run in soon:
        if run.deployment and run.deployment.pk not in calendars:
            calendars[run.deployment.pk] = Calendar.of(Target.of(run.deployment))
        if run.deployment:
            standing = calendars[run.deployment.pk].at(max(run.expected_start_at or now, now))
            if not standing:
                yield run, standing


def hold_back(run: Run, standing: Standing) -> bool:
    """Postpone or cancel one run, with an entry in the trail; False if it is not to be had any more."""
    gateway = connect.client_for(run.environment)
    mirror.refresh_state(run.environment, [run.prefect_id])
    earlier, state = run.expected_start_at, run.state_id
    run.refresh_from_db()
    if run.deleted_upstream_at or run.state_id != state:
        return False
    refuses = bool(run.deployment and requirements_for(Target.of(run.deployment)).refuse_outside_window)
    until = standing.opens_at or timezone.now() + UNTIL_SOMEBODY_CAN_SAY
    try:
        if refuses:
            gateway.cancel(run.prefect_id)
        else:
            gateway.postpone(run.prefect_id, until, standing.sentence)
    except (NotFound, Rejected):
        return False
    verb = "run.skipped" if refuses else "run.postponed"
    with audit.act(verb, run, by=Actor.system(), reason=standing.sentence, environment=run.environment.slug) as act:
        act.before = {"planned": earlier}
        act.after = {"planned": None if refuses else until}
    mirror.refresh_state(run.environment, [run.prefect_id])
    return True
