"""The overview: what waits for the reader, what is wrong, what runs, and how it went, restricted to what they see."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from portal.admin.audit import oversight
from portal.admin.deployments.list import pinned_rows
from portal.admin.overview import attention, first_steps, overseen, rare_panels, renewal_panel, trend_panel
from portal.admin.overview.alarms import (
    count_mute_approvers,
    count_unassigned,
    paused_schedules,
    rules_waiting,
    to_review,
)
from portal.admin.overview.current_runs import current_runs
from portal.admin.overview.environment_lines import read_environments, tiles
from portal.admin.overview.pending_approvals import pending_approvals
from portal.auth.request_user import permissions_of
from portal.ops import database_checks
from portal.ui import audit_panel, freshness
from runs.models import Run, Verb
from runs.trend_sums import Readable


def add_overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the overview's data to the context; the theme calls it for the admin's index page (`DASHBOARD_CALLBACK`)."""
    permissions = permissions_of(request)
    facts = {**first_steps.facts(request), **renewal_panel.columns(request), **rare_panels.facts(request)}
    is_overseer = overseen.is_overseer(request)
    environments = read_environments(permissions, facts, with_hidden=is_overseer)
    watched = environments if is_overseer else []
    places = [each for each in environments if each.is_visible]  # type: ignore[attr-defined]  # annotated
    found = tiles(places)
    there = {name: rare_panels.has_any(name, environments) for name in rare_panels.NAMES}
    context |= {
        "title": "Overview",
        "tiles": found,
        "freshness": [freshness.freshness_from(tile.status, "runs", timezone.now()) for tile in found],
        "first_steps": first_steps.first_steps(request, places),
        "pending": pending_approvals(request),
        "to_review": to_review(request, permissions) if there[rare_panels.OVERRIDES] else [],
        # Alarms for administrators and auditors. A demo has no separate database role, so it is never secured.
        "problems": database_checks.problems() if settings.PRODUCTION and audit_panel.can_read(request) else [],
        "outside_changes": audit_panel.outside_changes(request) if there[rare_panels.OUTSIDE_CHANGES] else [],
        "rules_waiting": rules_waiting(request),
        "unassigned": count_unassigned(watched),
        "mute_approvers": count_mute_approvers(places),
        "paused_schedules": paused_schedules(permissions) if there[rare_panels.PAUSED_SCHEDULES] else [],
        "renewals": renewal_panel.renewals(places),
        "oversight": oversight.rows_for(watched),
        "oversight_headings": oversight.HEADINGS,
    }
    # Without an environment there are no runs either, and nothing to pin.
    if not found:
        return context
    visible = permissions.q(Verb.SEE, deployment="access_deployment__")
    runs = Run.objects.filter(visible)
    key = trend_panel.key_of(request.GET.get("range", ""))
    span = trend_panel.RANGES[key][1]()
    by_key = {each.pk: each for each in places}
    current = current_runs(runs, span, request.user, permissions)
    causes = attention.causes(current.failed, permissions)
    return context | {
        "current": current,
        "pinned": pinned_rows(request) if there[rare_panels.PINS] else [],
        "causes": causes[: attention.MOST_CAUSES],
        "more_causes": max(len(causes) - attention.MOST_CAUSES, 0),
        "breaches": current.breaches,
        "muted_failures": attention.count_muted(current.failed),
        "stalled": attention.stalled_runs(current.stalled, by_key),
        "trend": trend_panel.panel(
            Readable(visible, permissions.whole_environments(Verb.SEE)),
            span,
            key,
            {each.slug: each for each in places},
        ),
    }
