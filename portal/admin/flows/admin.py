"""Flows: the list, and the page of one. What can be done is done with their deployments."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from flows.models import Flow
from portal.admin.base import RestrictedAdmin
from portal.admin.deployments.filters import TagFilter
from portal.admin.deployments.list import LastRun
from portal.admin.filters import EnvironmentFilter
from portal.admin.flows import page
from portal.auth.request_user import actor_of, permissions_of
from portal.lists.change_list import RestrictedList
from portal.ui import freshness
from runs.flow_listings import FLOWS, summarize


def address_of(name: str) -> str:
    """Return the page of a flow. By its name: it has no row of its own."""
    return reverse("admin:flows_flow_change", args=[quote(name)])


class FlowList(RestrictedList):
    """Adds to each row its deployments, how their runs ended, and the last run; three queries for all rows."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        # By the name alone, whatever the address says: of each name there is one row.
        is_backwards = super().get_ordering(request, queryset)[0] == "-flow_name"
        return ["-flow_name" if is_backwards else "flow_name"]

    def url_for_result(self, result: Flow) -> str:
        return address_of(result.flow_name)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        summarize(rows, permissions_of(request))
        for row in rows:
            row.numbers = page.Numbers.of(row.summary.total)
            row.last_run = LastRun.of(row.summary.last_run)
        self.result_list: list[Any] = rows
        self.freshness = freshness.freshness_of_all(request, "deployments")


@admin.register(Flow)
class FlowAdmin(RestrictedAdmin):
    list_display = ["named", "where", "deployed", "runs_ended", "success", "last"]
    list_filter = [EnvironmentFilter, TagFilter]
    ordering = ["flow_name"]
    sortable_by = ["named"]
    change_list_template = "portal/flow/list.html"
    search_fields = ["flow_name"]
    search_help_text = "Name of the flow"
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Flow]:
        return FLOWS.rows(actor_of(request), permissions=permissions_of(request)).only("flow_name")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[FlowList]:
        return FlowList

    @admin.display(description="flow", ordering="flow_name")
    def named(self, flow: Flow) -> str:
        return flow.flow_name

    @admin.display(description="environments")
    def where(self, flow: Any) -> SafeString:
        return render_to_string("portal/flow/_places.html", {"places": flow.summary.places})

    @admin.display(description="deployments")
    def deployed(self, flow: Any) -> str:
        return f"{flow.summary.deployments:,}"

    @admin.display(description="runs in 30 days")
    def runs_ended(self, flow: Any) -> str:
        return f"{flow.numbers.ended:,}"

    @admin.display(description="success")
    def success(self, flow: Any) -> SafeString:
        return render_to_string("portal/flow/_success.html", {"numbers": flow.numbers})

    @admin.display(description="last run")
    def last(self, flow: Any) -> SafeString:
        return render_to_string("portal/deployment/_last_run.html", {"deployment": flow})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        name = unquote(object_id).replace("\0", "")
        flow = self.get_queryset(request).filter(flow_name=name).first()
        if flow is None:
            raise Http404
        frame = {**self.admin_site.each_context(request), "title": str(flow), "opts": self.opts, "original": flow}
        context = frame | page.context(request, flow.flow_name)
        return TemplateResponse(request, "portal/flow/page.html", context | (extra_context or {}))
