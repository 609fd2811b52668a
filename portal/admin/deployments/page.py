"""Context of the page of one deployment; everything is read from Postgres, nothing from Prefect."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import F, QuerySet
from django.http import HttpRequest

from flows import deployments
from flows.models import Deployment, WorkPool
from flows.parameters.description import Described, describe
from portal.admin import limit_form
from portal.admin.backfill.page import can_backfill
from portal.admin.deployments import prefect_schedules
from portal.admin.deployments.list import Workforce, is_runnable
from portal.admin.deployments.upcoming import upcoming
from portal.admin.drift import page as drift_page
from portal.admin.run_form import quick_run
from portal.admin.schedules.form_page import can_schedule
from portal.admin.work_pools.page import workers
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import freshness, tables, times
from portal.ui.text import json_text, share_tone, unwrap
from runs import levels, statistics
from runs.access import who_can
from runs.access.decisions import Permissions, Target
from runs.automation import schedule_listings
from runs.governance import pausing
from runs.governance.requirements import requirements_for
from runs.models import Run, RunCount, Schedule, Verb
from runs.requests import presets

LAST_RUNS = 10
MOST_SCHEDULES = 20
# Verbs of the access panel. Of each, at most `MOST_NAMED` people are named; the others are counted.
NAMED_VERBS = (
    *(Verb.TRIGGER, Verb.TRIGGER_LATER, Verb.RERUN, Verb.BACKFILL, Verb.SCHEDULE, Verb.CANCEL, Verb.FORCE_CANCEL),
    *(Verb.PUT_BACK, Verb.APPROVE, Verb.BREAK_GLASS, Verb.OVERRIDE_FREEZE, Verb.PAUSE, Verb.MANAGE),
)
MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row of the table of parameters."""

    described: Described
    default: str

    @classmethod
    def of(cls, one: Described) -> Parameter:
        return cls(one, json_text(one.default) if one.has_default else "")


@dataclass(frozen=True, slots=True)
class Figures:
    """Success rate and durations of recent runs, as text."""

    days: int
    rate: str
    rate_of: str
    rate_tone: str
    median: str
    ended: int
    failed: int


@dataclass(frozen=True, slots=True)
class VerbGroup:
    """People with the same groups, conditions and end date; `how` is one of them, without a name."""

    names: str
    how: who_can.Allowed


@dataclass(frozen=True, slots=True)
class AccessSummary:
    """One line of the access panel: verbs that the same people have under the same conditions."""

    verbs: str
    allowed: Sequence[VerbGroup]
    more: int
    denied: str
    more_denied: int
    has_administrators: bool

    @classmethod
    def of(cls, verbs: Sequence[str], access: who_can.Access) -> AccessSummary:
        # People with conditions come first: they must not be among those who are only counted.
        allowed = sorted(access.allowed, key=lambda each: not (each.only or each.never or each.until))
        alike: dict[who_can.Allowed, list[str]] = {}
        for each in allowed[:MOST_NAMED]:
            alike.setdefault(replace(each, name=""), []).append(each.name)
        return cls(
            ", ".join(verbs),
            [VerbGroup(", ".join(names), how) for how, names in alike.items()],
            max(len(allowed) - MOST_NAMED, 0),
            ", ".join(each.name for each in access.denied[:MOST_NAMED]),
            max(len(access.denied) - MOST_NAMED, 0),
            access.has_administrators,
        )


def context(request: HttpRequest, deployment: Deployment, namesakes: Sequence[int]) -> dict[str, Any]:
    """Build the template context; select the environment and its health with `deployment`.

    `namesakes` are the keys of the deployments of this name, whose runs are shown.
    """
    permissions = permissions_of(request)
    visible = permissions.q(Verb.SEE, deployment="access_deployment__")
    runs = Run.objects.filter(visible, deployment__in=namesakes)
    pool = WorkPool.current.filter(environment=deployment.environment_id, name=deployment.work_pool_name).first()
    recent = limit_form.recent_actions(deployment)
    return {
        "deployment": deployment,
        "successor": deployments.current(deployment) if deployment.deleted_upstream_at else None,
        "description": unwrap(deployment.description),
        "freshness": freshness.freshness_of([deployment.environment], "deployments"),
        "pool": pool,
        "status": deployment.status.replace("_", " ").capitalize(),
        # `Workforce.of` takes the keys of a row as the list reads them, as JSON.
        "workforce": Workforce.of(deployment.work_pool_name, vars(pool) if pool else None),
        "workers": workers(pool),
        "job_variables": job_variables(deployment.job_variables),
        "parameters": [
            Parameter.of(one) for one in describe(deployment.parameter_schema, deployment.parameter_defaults)
        ],
        "presets": presets.of_deployment(deployment, by=actor_of(request), permissions=permissions),
        "last_runs": tables.RunTable(runs.exclude(state_type="SCHEDULED").order_by("-sort_at", "-pk")[:LAST_RUNS]),
        "figures": figures(RunCount.objects.filter(visible, deployment__in=namesakes), runs),
        "levels": levels.covering(deployment, namesakes),
        "who": access_summary(deployment),
        "neighbours": drift_page.neighbours(deployment),
        "portal_schedules": (live := live_schedules(permissions, deployment)),
        "upcoming": upcoming(runs, live),
        "prefect_schedules": prefect_schedules.rows(deployment, live, recent),
        "requested": limit_form.unfinished(recent),
        **limit_form.context(permissions, deployment),
        **buttons(permissions, deployment),
    }


def live_schedules(permissions: Permissions, deployment: Deployment) -> list[Schedule]:
    """Return the portal's own schedules that have not ended, those that are due next first."""
    found = schedule_listings.visible_to(permissions).filter(deployment=deployment).exclude(state=Schedule.State.ENDED)
    return list(found.order_by(F("next_due").asc(nulls_last=True), "pk")[:MOST_SCHEDULES])


def buttons(permissions: Permissions, deployment: Deployment) -> dict[str, Any]:
    """Decide which buttons are shown, and explain a missing run button."""
    run, pause = permissions.start(deployment), permissions.decide(Verb.PAUSE, deployment)
    may_run = run.allowed and is_runnable(deployment)
    values = quick_run.quick_values(deployment) if may_run else None
    return {
        "may_run": may_run,
        "needs_approval": bool(may_run and requirements_for(Target.of(deployment)).stages),
        "may_backfill": is_runnable(deployment) and can_backfill(permissions, deployment),
        "may_schedule": is_runnable(deployment) and can_schedule(permissions, deployment),
        "may_run_quickly": quick_run.can_run_quickly(permissions, deployment, values),
        "quick_values": quick_run.describe_values(deployment, values or {}),
        "quick_token": quick_run.token(values),
        "may_pause": (may_pause := pause.allowed and is_runnable(deployment)),
        "may_keep_paused": may_pause and deployment.is_paused and pausing.is_paused_for_now(deployment),
        "why_no_run": None if run.allowed else run,
        # One for each page view: a double click on “Quick run” is one request.
        "submission_key": uuid.uuid4(),
    }


def job_variables(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, json_text(value)) for name, value in sorted(values.items())]


def figures(counts: QuerySet[RunCount], runs: QuerySet[Run]) -> Figures:
    """Format the success rate and the median duration of the last days."""
    found = statistics.reliability(counts, runs)
    rate = found.success_rate
    return Figures(
        found.days,
        "-" if rate is None else f"{rate:.0%}",
        "" if rate is None else f"{found.completed} of {found.completed + found.failed}",
        share_tone(rate),
        "-" if found.median_seconds is None else times.duration(found.median_seconds),
        found.ended,
        found.failed,
    )


def access_summary(deployment: Deployment) -> list[AccessSummary]:
    """List who may do what here; verbs with the same people under the same conditions share a line."""
    lines: dict[who_can.Access, list[str]] = {}
    for verb, access in who_can.who_can(deployment, NAMED_VERBS).items():
        lines.setdefault(access, []).append(str(verb.label))
    return [AccessSummary.of(verbs, access) for access, verbs in lines.items()]
