"""Bypasses: a list, above which stands what could not be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from flows.models import Environment, Health
from portal.admin.base import RestrictedAdmin
from portal.admin.bypasses.filters import KindFilter, OpenFilter
from portal.admin.filters import EnvironmentFilter
from portal.auth.request_user import actor_of, permissions_of
from portal.lists.change_list import RestrictedList
from portal.ui import freshness, times
from portal.ui.run_links import Count as Number
from portal.ui.run_links import runs_url
from runs import list_filters
from runs.audit.lines import Columns
from runs.bypass_listings import BYPASSES
from runs.governance.loosening import is_guarded
from runs.models import Bypass, Run, Verb

DAYS = 7


@dataclass(frozen=True, slots=True)
class Watched:
    """One protected environment: runs that were started directly, and how its automations were last read."""

    environment: Environment
    outside: Number
    automations_at: datetime | None
    failure: str


def watched(request: HttpRequest, places: list[freshness.Freshness]) -> list[Watched]:
    """Return the protected environments that the reader sees; one query, of the runs they see."""
    guarded = [one.environment for one in places if is_guarded(one.environment)]
    since = timezone.now() - timedelta(days=DAYS)
    visible = permissions_of(request).q(Verb.SEE, deployment="access_deployment__")
    runs = Run.objects.filter(visible, list_filters.of_origin("outside"), environment__in=guarded, sort_at__gte=since)
    counts = dict(runs.order_by().values_list("environment").annotate(Count("pk"))) if guarded else {}
    found = []
    for environment in guarded:
        health: Health | None = getattr(environment.server, "health", None)
        url = runs_url(environment=environment.slug, origin="outside", sort_at_from=since)
        number = Number(f"{environment} outside", counts.get(environment.pk, 0), url)
        at, failure = (health.automations_synced_at, health.automations_failure) if health else (None, "")
        found.append(Watched(environment, number, at, failure))
    return found


class BypassList(RestrictedList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.freshness = freshness.freshness_of_all(request, "deployments")
        self.watched = watched(request, self.freshness)


@admin.register(Bypass)
class BypassAdmin(RestrictedAdmin):
    list_display = ["named", "kind", "where", "what", "found", "gone"]
    list_display_links = None
    list_filter = [EnvironmentFilter, KindFilter, OpenFilter]
    hidden_columns = ("gone",)
    ordering = ["-found_at", "-pk"]
    change_list_template = "portal/bypass/list.html"
    search_fields = ["name", "detail"]
    search_help_text = "Name or details"
    csv_columns: ClassVar[Columns] = {
        "name": lambda row: row.name,
        "kind": lambda row: row.get_kind_display(),
        "environment": lambda row: row.environment.slug,
        "details": lambda row: row.detail,
        "deployment": lambda row: row.deployment.full_name if row.deployment else "",
        "found": lambda row: row.found_at,
        "gone": lambda row: row.gone_at,
    }
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Bypass]:
        return BYPASSES.rows(actor_of(request), permissions=permissions_of(request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BypassList]:
        return BypassList

    @admin.display(description="name", ordering="name")
    def named(self, bypass: Bypass) -> SafeString:
        return render_to_string("portal/bypass/_name.html", {"bypass": bypass})

    @admin.display(description="environment", ordering="environment")
    def where(self, bypass: Bypass) -> SafeString:
        return render_to_string("portal/_environment.html", {"environment": bypass.environment})

    @admin.display(description="details")
    def what(self, bypass: Bypass) -> str:
        return bypass.detail

    @admin.display(description=times.in_zone("found"), ordering="found_at")
    def found(self, bypass: Bypass) -> SafeString:
        return times.clock_and_age(bypass.found_at)

    @admin.display(description=times.in_zone("gone"), ordering="gone_at")
    def gone(self, bypass: Bypass) -> SafeString:
        return times.clock_and_age(bypass.gone_at)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Lead to the deployment that it is about; a row has no page of its own."""
        bypass: Bypass = self.visible_or_404(request, object_id)
        if bypass.deployment_id:
            return HttpResponseRedirect(reverse("admin:flows_deployment_change", args=[bypass.deployment_id]))
        return HttpResponseRedirect(reverse("admin:runs_bypass_changelist"))
