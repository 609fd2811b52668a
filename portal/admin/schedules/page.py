"""Context of the page of a schedule, and of the panel with which its change request is decided."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from flows import definition
from portal.admin.requests import parameter_diff
from portal.admin.schedules.form_page import PREFECT, SOURCE, address_of, can_schedule
from portal.ui import schedule_labels, tables
from portal.ui.profile_settings import settings_of
from portal.ui.run_links import MOST_COUNTED, runs_url
from runs import native_schedules
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation import schedule_listings
from runs.models import Run, RunRequest, Schedule, Verb
from runs.models.action import OPEN
from runs.requests import visibility

# Runs that the page shows.
LAST_RUNS = 20


def context(schedule: Schedule, by: Actor, permissions: Permissions) -> dict[str, Any]:
    """Build the template context; select with the schedule what `schedule_listings.visible_to` selects."""
    deployment = schedule.deployment
    is_own = by.is_same_person_as(schedule.change.requested_by_id)
    may_manage = permissions.decide(Verb.SCHEDULE, deployment).allowed
    is_active, is_paused = schedule.state == Schedule.State.ACTIVE, schedule.state == Schedule.State.PAUSED
    mine = {"change__occurrence_of": schedule} if schedule.approves_each else {"change": schedule.change_id}
    requested = RunRequest.objects.filter(**mine).select_related("run", "spec", "change").order_by("-pk")
    return {
        "schedule": schedule,
        "deployment": deployment,
        "rule": schedule_labels.rule_of(schedule),
        "starts": schedule_labels.starts(schedule_listings.next_starts(schedule), schedule.time_zone),
        "runs": tables.RunTable(native_runs(schedule))
        if schedule.is_native
        else tables.RequestTable(requested[:LAST_RUNS]),
        "replacement": schedule.replacements.filter(state=Schedule.State.WAITING).order_by("pk").first(),
        **values(schedule, permissions),
        "may_pause": is_active and (is_own or may_manage or permissions.decide(Verb.PAUSE, deployment).allowed),
        "may_resume": is_paused and may_manage,
        "may_end": schedule.state != Schedule.State.ENDED and (is_own or may_manage),
        "may_edit": schedule.is_live and can_schedule(permissions, deployment) and not deployment.deleted_upstream_at,
        "edit_url": address_of(deployment, schedule),
        **copy_context(schedule, may_manage=may_manage),
    }


def native_runs(schedule: Schedule) -> QuerySet[Run]:
    """Return the last runs that Prefect started by a schedule."""
    return schedule.runs.order_by("-sort_at", "-pk")[:LAST_RUNS]


def copy_context(schedule: Schedule, *, may_manage: bool) -> dict[str, Any]:
    """Return what of a schedule that Prefect keeps is different there, and what can be done about it."""
    if not schedule.is_native or not schedule.activated_at:
        return {}
    saving = schedule.actions.order_by("-pk").first()
    is_pending = saving is not None and saving.state in OPEN
    drift = [] if is_pending else native_schedules.differences(schedule)
    return {
        "saving": saving,
        "is_pending": is_pending,
        "drift": drift,
        "may_put_back": bool(drift) and may_manage,
        "can_accept": bool(drift) and schedule.is_live and bool(schedule_listings.options_of_copy(schedule)),
        "accept_url": f"{address_of(schedule.deployment, schedule)}&{SOURCE}={PREFECT}",
        "run_count": schedule.runs.filter(started_at__isnull=False).order_by()[:MOST_COUNTED].count(),
        "runs_url": runs_url(deployment=schedule.deployment.full_name, environment=schedule.environment.slug),
    }


def values(schedule: Schedule, permissions: Permissions) -> dict[str, Any]:
    """Return the parameters beside the defaults, for those who can view them."""
    # One run of it, as it would be: the same decision, and the same display, as for a run.
    run_request = RunRequest(change=schedule.change, spec=schedule.spec, deployment=schedule.deployment)
    sees = visibility.can_view_parameters(permissions, run_request)
    against = parameter_diff.columns(schedule.deployment, None, None)
    shown, note = parameter_diff.masked_with_note(run_request) if sees else ({}, "")
    return {
        "profile": settings_of(schedule.spec.profile),
        "sees_inputs": sees,
        "against": against,
        "rows": parameter_diff.rows(shown, schedule.deployment, against) if sees else [],
        "parameters_note": note,
    }


def change_context(schedule: Schedule, permissions: Permissions) -> dict[str, Any]:
    """Return what an approver has to look at: when it would start what, and what is different from the one before."""
    before = schedule.replaces
    preview = schedule_listings.preview(schedule.rule_type, schedule.rule, schedule.time_zone, anchor=schedule.anchor)
    moments = [each for each in preview if each < schedule.valid_until]
    redeployed = definition.changed_fields(before.spec.definition, schedule.spec.definition) if before else []
    return {
        "schedule": schedule,
        "spec": schedule.spec,
        "deployment": schedule.deployment,
        "rule": schedule_labels.rule_of(schedule),
        "rule_before": schedule_labels.rule_of(before) if before else "",
        "redeployed": redeployed,
        "starts": schedule_labels.starts(moments, schedule.time_zone),
        **values(schedule, permissions),
    }
