"""The list “Environment drift”: pairs of environments in which a deployment differs."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from portal.admin.base import RestrictedAdmin
from portal.admin.drift.filters import BetweenFilter, DifferenceFilter
from portal.auth.request_user import actor_of, permissions_of
from portal.lists.change_list import KeysetList
from portal.ui import freshness, times
from runs.audit.lines import Columns
from runs.drift.drift_listings import DRIFT
from runs.models import Drift


class DriftList(KeysetList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.freshness = freshness.freshness_of_all(request, "deployments")


@admin.register(Drift)
class DriftAdmin(RestrictedAdmin):
    list_display = ["named", "where", "what", "newest"]
    list_display_links = None
    list_filter = [BetweenFilter, DifferenceFilter]
    sortable_by = ["newest"]
    change_list_template = "portal/drift/list.html"
    search_fields = ["left_name", "right_name"]
    search_help_text = "Flow or deployment name"
    csv_columns: ClassVar[Columns] = {
        "deployment": lambda row: row.left_name,
        "environment": lambda row: row.left_environment.slug,
        "other deployment": lambda row: row.right_name,
        "other environment": lambda row: row.right_environment.slug,
        "differs in": lambda row: ", ".join(row.kinds),
        "newest difference since": lambda row: row.changed_at,
    }
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Drift]:
        return DRIFT.rows(actor_of(request), permissions=permissions_of(request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DriftList]:
        return DriftList

    @admin.display(description="deployment")
    def named(self, drift: Drift) -> SafeString:
        return render_to_string("portal/drift/_name.html", {"drift": drift})

    @admin.display(description="environments")
    def where(self, drift: Drift) -> SafeString:
        return render_to_string("portal/drift/_places.html", {"drift": drift})

    @admin.display(description="what differs")
    def what(self, drift: Drift) -> SafeString:
        return render_to_string("portal/drift/_kinds.html", {"labels": drift.labels})

    @admin.display(description=times.in_zone("newest since"), ordering="changed_at")
    def newest(self, drift: Drift) -> SafeString:
        return times.clock_and_age(drift.changed_at)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Lead to the page of the deployment in all environments; a pair has no page."""
        drift: Drift = self.visible_or_404(request, object_id)
        return HttpResponseRedirect(reverse("admin:flows_deployment_drift", args=[drift.left_id]))
