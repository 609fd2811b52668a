"""The panels "Audit trail" and "Versions" on the page of a row, for readers of the audit trail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from portal.ui import versions as ui_versions
from portal.ui.audit_links import filter_of, link_subjects, subjects_of
from runs.audit import queries
from runs.models import AuditEntry

MOST = 10
# Alarms about changes outside the portal on the overview; the audit trail has all.
FEW = 3
SHOWN_FOR = timedelta(days=7)


def can_read(request: HttpRequest) -> bool:
    # Readers of the trail see entries about every deployment, so this permission is not derived from grants.
    return bool(request.user.is_active and request.user.has_perm("runs.view_auditentry"))


def entries_about(request: HttpRequest, row: Model | None) -> dict[str, Any]:
    """Return the context of `portal/audit/_trail.html`; empty without permission to read the trail."""
    if row is None or not row.pk or not can_read(request):
        return {}
    criteria = filter_of(row)
    # One more than displayed tells whether there are more; a count would read the whole partitioned table.
    entries = list(queries.entries(criteria).order_by("-sequence")[: MOST + 1])
    link_subjects(entries[:MOST], subjects_of(criteria))
    return {
        "is_shown": True,
        "entries": entries[:MOST],
        "has_more": len(entries) > MOST,
        "whole": f"{reverse('admin:runs_auditentry_changelist')}?{urlencode(criteria)}",
    }


def versions(request: HttpRequest, row: Model | None) -> dict[str, Any]:
    """Return the context of `portal/_history.html`; empty without permission to read the audit trail."""
    if row is None or not row.pk or not can_read(request):
        return {}
    return {"is_shown": True, "versions": ui_versions.versions_of(row)}


def outside_changes(request: HttpRequest) -> list[AuditEntry]:
    """Return the latest entries about rules that were changed past the portal; none without permission to read them."""
    return list(from_outside().order_by("-sequence")[:FEW]) if can_read(request) else []


def from_outside() -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(verb="configuration.outside", at__gte=timezone.now() - SHOWN_FOR)
