"""Work pools: the list, the page of one, and the addresses that pause, resume and limit it and its queues."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from flows.models import WorkPool, WorkQueue
from portal.admin.actions import perform, redirect_back, ticket_of
from portal.admin.base import RestrictedAdmin
from portal.admin.filters import EnvironmentFilter, PausedFilter
from portal.admin.limit_form import change_limits
from portal.admin.work_pools import page
from portal.admin.work_pools.filters import TypeFilter
from portal.auth.request_user import actor_of, permissions_of
from portal.lists.change_list import RestrictedList
from portal.ui import freshness
from runs.audit.lines import Columns
from runs.governance import limits
from runs.models import Action, ChangeRequest
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

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "pause": ("<int:pk>/pause/", self.pause),
            "resume": ("<int:pk>/resume/", self.resume),
            "limits": ("<int:pk>/limits/", self.limits),
            "pause_queue": ("<int:pk>/queues/<int:queue>/pause/", self.pause),
            "resume_queue": ("<int:pk>/queues/<int:queue>/resume/", self.resume),
            "limit_queue": ("<int:pk>/queues/<int:queue>/limits/", self.limits),
        }
        own = [
            path(route, self.admin_site.admin_view(require_POST(view)), name=f"flows_workpool_{name}")
            for name, (route, view) in views.items()
        ]
        return [*own, *super().get_urls()]

    def target(self, request: HttpRequest, pk: int, queue: int | None) -> WorkPool | WorkQueue:
        """Return the pool, or its queue; who sees a pool sees its queues."""
        pool: WorkPool = self.visible_or_404(request, pk)
        if queue is None:
            return pool
        found = WorkQueue.current.filter(pool=pool, pk=queue).first()
        if found is None:
            raise Http404
        # With what was selected with the pool.
        found.pool = pool
        return found

    def pause(self, request: HttpRequest, pk: int, queue: int | None = None) -> HttpResponse:
        target = self.target(request, pk, queue)
        act = partial(limits.pause, target, by=actor_of(request))
        perform(
            request,
            lambda reason: act(reason=reason, ticket=ticket_of(request)),
            "Pause requested. No more of its runs start.",
        )
        return self.back(request, pk)

    def resume(self, request: HttpRequest, pk: int, queue: int | None = None) -> HttpResponse:
        target = self.target(request, pk, queue)

        def act(reason: str) -> Action | ChangeRequest:
            confirm = request.POST.get("confirm", "")
            by, ticket = actor_of(request), ticket_of(request)
            return limits.resume(target, by=by, reason=reason, ticket=ticket, confirm=confirm)

        perform(request, act, "Resume requested. Its runs start in a few seconds.")
        return self.back(request, pk)

    def limits(self, request: HttpRequest, pk: int, queue: int | None = None) -> HttpResponse:
        change_limits(request, self.target(request, pk, queue))
        return self.back(request, pk)

    def back(self, request: HttpRequest, pk: int) -> HttpResponse:
        return redirect_back(request, reverse("admin:flows_workpool_change", args=[pk]))
