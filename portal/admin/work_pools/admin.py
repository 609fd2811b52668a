"""Work pools: the list and the page of one."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from flows.models import WorkPool
from portal.admin.base import RestrictedAdmin
from portal.admin.filters import EnvironmentFilter
from portal.admin.work_pools import page
from portal.admin.work_pools.filters import PausedFilter, TypeFilter
from portal.auth.request_user import actor_of, permissions_of
from portal.lists.change_list import RestrictedList
from portal.ui import freshness
from runs.audit.lines import Columns
from runs.work_pools import WORK_POOLS, depth_of, depths


class WorkPoolList(RestrictedList):
    """Adds to each row how many runs wait and go on; one query for all rows."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: list[Any] = list(self.result_list)
        found = depths(self.result_list, permissions_of(request))
        for row in self.result_list:
            row.badge = page.badge_of(row)
            row.counts = page.counts_of(row, depth_of(row, found))
        self.freshness = freshness.freshness_of_all(request, "deployments")


@admin.register(WorkPool)
class WorkPoolAdmin(RestrictedAdmin):
    list_display = ["named", "where", "type", "state", "workers_shown", "limit", "waiting", "late", "taken"]
    list_filter = [EnvironmentFilter, TypeFilter, PausedFilter]
    ordering = ["name", "environment__position", "pk"]
    change_list_template = "portal/work_pool/list.html"
    search_fields = ["name", "description"]
    search_help_text = "Name or description"
    csv_columns: ClassVar[Columns] = {
        "work pool": lambda row: row.name,
        "environment": lambda row: row.environment.slug,
        "type": lambda row: row.type,
        "paused": lambda row: row.is_paused,
        "workers online": lambda row: row.workers_online,
        "workers": lambda row: len(row.workers),
        "concurrency limit": lambda row: row.concurrency_limit,
        "queues": lambda row: ", ".join(queue.name for queue in row.queues.all()),
    }
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[WorkPool]:
        rows = WORK_POOLS.rows(actor_of(request), permissions=permissions_of(request))
        return rows.select_related("environment__server__health")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[WorkPoolList]:
        return WorkPoolList

    @admin.display(description="work pool", ordering="name")
    def named(self, pool: WorkPool) -> str:
        return pool.name

    @admin.display(description="environment", ordering="environment")
    def where(self, pool: WorkPool) -> SafeString:
        return render_to_string("portal/_environment.html", {"environment": pool.environment})

    @admin.display(description="state", ordering="is_paused")
    def state(self, pool: Any) -> SafeString:
        return render_to_string("portal/_state.html", {"row": pool.badge})

    @admin.display(description="workers online")
    def workers_shown(self, pool: WorkPool) -> str:
        return f"{pool.workers_online} of {len(pool.workers)}" if pool.needs_worker else "needs no worker"

    @admin.display(description="concurrency limit", ordering="concurrency_limit")
    def limit(self, pool: WorkPool) -> str:
        return "none" if pool.concurrency_limit is None else str(pool.concurrency_limit)

    @admin.display(description="waiting")
    def waiting(self, pool: Any) -> SafeString:
        return self.count(pool, 0)

    @admin.display(description="late")
    def late(self, pool: Any) -> SafeString:
        return self.count(pool, 1)

    @admin.display(description="active")
    def taken(self, pool: Any) -> SafeString:
        return self.count(pool, 2)

    def count(self, pool: Any, place: int) -> SafeString:
        return render_to_string("portal/overview/_count.html", {"count": pool.counts[place]})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Read-only: every change has an address and a service of its own.
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        pool: WorkPool = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": f"{pool} in {pool.environment}",
            "opts": self.opts,
            "original": pool,
            **page.context(request, pool),
        }
        return TemplateResponse(request, "portal/work_pool/page.html", context | (extra_context or {}))
