"""Flow runs: the list, the page of one, its log, and the addresses that cancel and refresh it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_POST

from portal.admin.actions import perform, reason_of, redirect_back, ticket_of
from portal.admin.base import RestrictedAdmin, attempt
from portal.admin.filters import EnvironmentFilter
from portal.admin.runs import log as runs_log
from portal.admin.runs import page as runs_page
from portal.admin.runs.filters import DayFilter, DeploymentFilter, OriginFilter, StalledFilter, StateFilter, TagFilter
from portal.auth.request_user import actor_of, can_view_logs, permissions_of
from portal.ui import freshness, times
from portal.ui.text import number
from runs import queue, requests
from runs.access.decisions import Target
from runs.governance.requirements import requirements_for
from runs.models import Run, Verb

# Each cancellation is a transaction of its own, in one web request.
MOST_AT_ONCE = 100
# Joined to every row: lists and pages show these without further queries.
RELATED = ["environment__health", "deployment__environment", "run_request"]


@admin.register(Run)
class RunAdmin(RestrictedAdmin):
    deployment_lookup = "deployment__"
    list_display = ["title", "state", "deployed", "where", "requested_by", "started", "took", "created"]
    list_filter = [
        EnvironmentFilter,
        StateFilter,
        StalledFilter,
        DeploymentFilter,
        TagFilter,
        OriginFilter,
        ("created_upstream_at", DayFilter),
    ]
    list_filter_submit = True
    search_fields = ["name", "deployment_name", "flow_name", "prefect_id"]
    search_help_text = "Run, deployment or flow name, or its Prefect ID"
    actions = ["cancel_selected"]

    # The list

    @admin.display(description="run", ordering="name")
    def title(self, run: Run) -> SafeString:
        # The other columns are hidden on narrow screens, so the first repeats what identifies the run.
        return format_html(
            '{}<span class="portal-narrow portal-faint portal-small">{} · {} · {}</span>',
            run.name,
            run.deployment_name or "no deployment",
            run.environment,
            times.relative_time(run.created_upstream_at),
        )

    @admin.display(description="state", ordering="state_type")
    def state(self, run: Run) -> str:
        return render_to_string("portal/run/_state.html", {"run": run})

    @admin.display(description="deployment", ordering="deployment_name")
    def deployed(self, run: Run) -> str:
        return run.deployment_name or "-"

    @admin.display(description="environment", ordering="environment")
    def where(self, run: Run) -> str:
        return render_to_string("portal/_environment.html", {"environment": run.environment})

    @admin.display(description="started by", ordering="run_request__requested_by_name")
    def requested_by(self, run: Run) -> SafeString:
        origin = runs_page.origin(run, getattr(run, "run_request", None))
        return format_html('<span class="{}">{}</span>', "" if run.created_by_portal else "portal-faint", origin)

    @admin.display(description="started", ordering="started_at")
    def started(self, run: Run) -> SafeString:
        if run.started_at is None and run.expected_start_at and not run.is_over:
            return format_html("scheduled {}", times.relative_time(run.expected_start_at))
        return times.relative_time(run.started_at)

    @admin.display(description="duration", ordering="run_seconds")
    def took(self, run: Run) -> SafeString | str:
        return runs_page.took(run) or "-"

    @admin.display(description="created", ordering="created_upstream_at")
    def created(self, run: Run) -> SafeString:
        return times.relative_time(run.created_upstream_at)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"title": "Runs", "freshness": freshness.freshness_of_all(request, "runs")}
        response: HttpResponse = super().changelist_view(request, context | (extra_context or {}))
        return response

    @admin.action(description="Cancel selected runs", permissions=["cancel"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """Ask for a reason; when that form comes back, cancel each run."""
        if queryset.count() > MOST_AT_ONCE:
            messages.warning(request, f"Select at most {MOST_AT_ONCE} runs.")
            return None
        runs = list(queryset)
        # The form posts to the list again, with the same action and the selection as hidden inputs.
        if "reason" not in request.POST:
            return self.ask_for_reason(request, runs)
        for run in runs:
            attempt(request, run, partial(self.cancel_one, request, run), "cancellation requested.")
        return None

    def cancel_one(self, request: HttpRequest, run: Run) -> None:
        requests.cancel(run, by=actor_of(request), reason=reason_of(request), ticket=ticket_of(request))

    def ask_for_reason(self, request: HttpRequest, runs: list[Run]) -> HttpResponse:
        """Show the selected runs, why some cannot be cancelled, and a form for the reason."""
        permissions = permissions_of(request)
        # Requirements are read once per deployment, not once per run.
        targets = {(run.environment_id, run.deployment_id, run.flow_name): Target.of_run(run) for run in runs}
        requirements = [requirements_for(target) for target in targets.values()]
        rows = [
            (run, *runs_page.explain_no_cancel(run, permissions.decide(Verb.CANCEL, Target.of_run(run))))
            for run in runs
        ]
        return render(
            request,
            "portal/run/cancel_selected.html",
            {
                **self.admin_site.each_context(request),
                "title": "Cancel selected runs",
                "opts": self.opts,
                "rows": rows,
                "count": sum(not why_not for _, why_not, _ in rows),
                "needs_reason": any(each.needs_reason for each in requirements),
                "asks_ticket": any(each.needs_ticket or each.ticket_patterns for each in requirements),
                "needs_ticket": any(each.needs_ticket for each in requirements),
                "checkbox": ACTION_CHECKBOX_NAME,
            },
        )

    # The page

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "cancel": ("cancel/", require_POST(self.cancel)),
            "force_cancel": ("force-cancel/", require_POST(self.force_cancel)),
            "refresh": ("refresh/", require_POST(self.refresh)),
            "log": ("log/", require_GET(self.log)),
            "log_text": ("log.txt", require_GET(self.log_text)),
        }
        routes = [
            path(f"<int:pk>/{route}", self.admin_site.admin_view(view), name=f"runs_run_{name}")
            for name, (route, view) in views.items()
        ]
        # First: Django's own routes end with a catch-all, `<path:object_id>/`.
        return [*routes, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Read-only: every change has an address and a service of its own.
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        run: Run = self.visible_or_404(request, object_id)
        is_live = "X-Portal-Live" in request.headers
        # States, tasks and logs of old runs are fetched only when someone opens the page. A live update does not ask
        # again: the first request has queued it, and pages poll every few seconds.
        if run.detailed_at is None and not is_live:
            queue.enqueue("runs.tasks.refresh", run.pk)
        page_context = runs_page.context(
            run,
            permissions_of(request),
            level=number(request.GET.get("level"), otherwise=0) or 0,
            before=number(request.GET.get("before")),
            is_live=is_live,
        )
        frame = {**self.admin_site.each_context(request), "title": run.name, "opts": self.opts, "original": run}
        return TemplateResponse(request, "portal/run/page.html", frame | page_context | (extra_context or {}))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        return super().get_queryset(request).select_related(*RELATED)

    def cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        run: Run = self.visible_or_404(request, pk)
        perform(
            request,
            lambda reason: requests.cancel(run, by=actor_of(request), reason=reason, ticket=ticket_of(request)),
            "Cancellation requested.",
        )
        return redirect_back(request, self.address(run))

    def force_cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        run: Run = self.visible_or_404(request, pk)
        perform(
            request,
            lambda reason: requests.force_cancel(run, by=actor_of(request), reason=reason, ticket=ticket_of(request)),
            "Forced cancellation requested.",
        )
        return redirect_back(request, self.address(run))

    def refresh(self, request: HttpRequest, pk: int) -> HttpResponse:
        run: Run = self.visible_or_404(request, pk)
        queue.enqueue("runs.tasks.refresh", run.pk)
        messages.info(request, "Refreshing from Prefect. This page updates automatically.")
        return redirect_back(request, self.address(run))

    def log(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the lines that arrived after one, as an HTML fragment."""
        run = self.readable_or_403(request, pk)
        level = number(request.GET.get("level"), otherwise=0) or 0
        newer = runs_log.since(run, level=level, after=number(request.GET.get("after"), otherwise=0) or 0)
        return render(request, "portal/run/_lines.html", {"lines": newer.lines})

    def log_text(self, request: HttpRequest, pk: int) -> HttpResponse:
        run = self.readable_or_403(request, pk)
        level = number(request.GET.get("level"), otherwise=0) or 0
        name = f"{slugify(run.name)[:60] or 'run'}-{timezone.localtime():%Y%m%d-%H%M%S}.log.txt"
        return HttpResponse(
            runs_log.as_text(run, level=level),
            content_type="text/plain; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def readable_or_403(self, request: HttpRequest, pk: int) -> Run:
        """Return the run if the user can also view its log; else 403, or 404 for a run they cannot see."""
        run: Run = self.visible_or_404(request, pk)
        if not can_view_logs(request, run):
            raise PermissionDenied(f"You can see {run}, but not its log. Required permission: “{Verb.SEE_LOGS.label}”.")
        return run

    def address(self, run: Run) -> str:
        return reverse("admin:runs_run_change", args=[run.pk])
