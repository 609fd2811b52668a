"""Deployments: the list, the page of one, and the addresses that run, pause and resume it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from flows.deployments import with_namesakes
from flows.models import Deployment
from flows.wording import plural
from portal.admin.actions import perform, reason_of, redirect_back
from portal.admin.backfill import page as backfill_page
from portal.admin.base import RestrictedAdmin, attempt
from portal.admin.deployments import page, prefect_schedules
from portal.admin.deployments.filters import DeletedFilter, FlowFilter, PoolFilter, SchedulesFilter, TagFilter
from portal.admin.deployments.list import DeploymentList, alias_of_row, rows_for_all
from portal.admin.drift import page as drift_page
from portal.admin.filters import EnvironmentFilter
from portal.admin.limit_form import change_limits
from portal.admin.run_form import choice_search, keep_values, quick_run
from portal.admin.run_form import page as run_form_page
from portal.admin.run_form.kept import through_sign_in
from portal.admin.schedules import form_page as schedule_form
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import palette
from runs import pins, requests
from runs.access.decisions import Target
from runs.audit.lines import Columns
from runs.governance import pausing
from runs.governance.preview import resolve_values
from runs.governance.requirements import requirements_for

# Each is a transaction of its own, in one web request.
MOST_AT_ONCE = 50


@admin.register(Deployment)
class DeploymentAdmin(RestrictedAdmin):
    list_display = ["titled", "where", "work", "schedule", "last_run", "run_link"]
    list_filter = [EnvironmentFilter, TagFilter, PoolFilter, SchedulesFilter, DeletedFilter, FlowFilter]
    ordering = ["full_name", "environment__position", "pk"]
    change_list_template = "portal/deployment/list.html"
    search_fields = ["full_name", "description", "entrypoint"]
    search_help_text = "Flow or deployment name, description or entrypoint"
    csv_columns: ClassVar[Columns] = {
        "deployment": lambda row: row.full_name,
        "id": lambda row: row.prefect_id,
        "environment": lambda row: row.environment.slug,
        "tags": lambda row: ", ".join(row.tags),
        "work pool": lambda row: row.work_pool_name,
        "work queue": lambda row: row.work_queue_name,
        "version": lambda row: row.version,
        "paused": lambda row: row.is_paused,
        "deleted in Prefect": lambda row: row.deleted_upstream_at,
    }
    actions = ["quick_run_selected", "pause_selected", "resume_selected"]

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DeploymentList]:
        return DeploymentList

    def live_rows(self, pks: Collection[int]) -> Sequence[Deployment]:
        return rows_for_all(pks)

    @admin.display(description="deployment", ordering="full_name")
    def titled(self, deployment: Deployment) -> SafeString:
        return render_to_string("portal/deployment/_title.html", {"deployment": deployment})

    @admin.display(description="environment", ordering="environment")
    def where(self, deployment: Deployment) -> SafeString:
        return render_to_string("portal/_environment.html", {"environment": deployment.environment})

    @admin.display(description="work pool", ordering="work_pool_name")
    def work(self, deployment: Deployment) -> SafeString:
        return render_to_string("portal/deployment/_work.html", {"deployment": deployment})

    @admin.display(description="schedules", ordering="is_paused")
    def schedule(self, deployment: Deployment) -> SafeString:
        active = sum(bool(schedule["is_active"]) for schedule in deployment.schedules)
        return render_to_string("portal/deployment/_schedule.html", {"deployment": deployment, "active": active})

    @admin.display(description="last run")
    def last_run(self, deployment: Deployment) -> SafeString:
        return render_to_string("portal/deployment/_last_run.html", {"deployment": deployment})

    @admin.display(description="run")
    def run_link(self, deployment: Deployment) -> SafeString:
        return render_to_string("portal/deployment/_run_link.html", {"deployment": deployment})

    @admin.action(description="Quick run with newest or default values", permissions=["trigger"])
    def quick_run_selected(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse | None:
        return self.do_to_many(request, queryset, "quick_run_selected", "Quick run", quick_run.submit_selected)

    @admin.action(description="Pause schedules", permissions=["pause"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse | None:
        return self.do_to_many(
            request, queryset, "pause_selected", "Pause", partial(self.pause_or_resume, pausing.pause)
        )

    @admin.action(description="Resume schedules", permissions=["pause"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse | None:
        return self.do_to_many(
            request, queryset, "resume_selected", "Resume", partial(self.pause_or_resume, pausing.resume)
        )

    def do_to_many(
        self,
        request: HttpRequest,
        queryset: QuerySet[Deployment],
        action: str,
        title: str,
        act: Callable[[HttpRequest, Deployment, str], object],
    ) -> HttpResponse | None:
        """Ask for a reason, then call `act` for each deployment; one that is refused does not stop the others."""
        # 1. Limit the number; one more than allowed tells that there are too many without counting them.
        deployments = list(queryset.defer(None)[: MOST_AT_ONCE + 1])
        if len(deployments) > MOST_AT_ONCE:
            messages.warning(request, f"Select at most {MOST_AT_ONCE} deployments.")
            return None
        # 2. Act, if the form came back with a reason and every environment that wants it was typed.
        requirements = [requirements_for(Target.of(deployment)) for deployment in deployments]
        is_run = action == "quick_run_selected"
        # One reading for each environment, not for each deployment.
        places = {deployment.environment for deployment in deployments} if is_run else ()
        offers = {environment: quick_run.offers_in(environment) for environment in places}
        rows = [self.selected_row(deployment, offers.get(deployment.environment)) for deployment in deployments]
        to_type = dict.fromkeys(
            [each.place for each in requirements if is_run and each.needs_confirmation]
            + [str(row["deployment"]) for row in rows if row["is_destructive"]]
        )
        is_confirmed = all(request.POST.get(f"confirmation-{place}", "").strip() == place for place in to_type)
        if "reason" in request.POST and is_confirmed:
            for deployment in deployments:
                attempt(request, deployment, partial(self.act_with_reason, act, request, deployment), "requested.")
            return None
        # 3. Otherwise show the form. Each deployment has a submission key, so that sending it twice runs it once.
        context = {
            **self.admin_site.each_context(request),
            "title": f"{title} {plural(len(deployments), 'deployment')}",
            "opts": self.opts,
            "rows": rows,
            "is_run": is_run,
            "action": action,
            "verb": title,
            "needs_reason": any(each.needs_reason for each in requirements),
            "asks_ticket": is_run and any(each.needs_ticket or each.ticket_patterns for each in requirements),
            "needs_ticket": any(each.needs_ticket for each in requirements),
            "to_type": list(to_type),
            "is_mismatch": "reason" in request.POST,
            "reason": request.POST.get("reason", ""),
            "ticket": request.POST.get("ticket", ""),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return render(request, "portal/deployment/ask_reason.html", context)

    def selected_row(self, deployment: Deployment, offers: quick_run.Offers | None) -> dict[str, Any]:
        """Return what the list of selected deployments shows of one; `offers` only for a quick run, with its values."""
        is_run = offers is not None
        values = quick_run.quick_values(deployment, offers) if is_run else None
        used = resolve_values(deployment, values or {}) if is_run else {}
        return {
            "deployment": deployment,
            "key": uuid.uuid4(),
            "values": quick_run.describe_values(deployment, used),
            "is_complete": values is not None,
            "token": quick_run.token(values),
            "is_destructive": is_run and requests.is_destructive(deployment, used),
        }

    def act_with_reason(self, act: Callable[..., object], request: HttpRequest, deployment: Deployment) -> None:
        act(request, deployment, reason_of(request))

    def pause_or_resume(
        self, service: Callable[..., object], request: HttpRequest, deployment: Deployment, reason: str
    ) -> None:
        service(deployment, by=actor_of(request), reason=reason)

    # The page

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        return with_namesakes(super().get_queryset(request).select_related("environment__server__health")).annotate(
            alias=alias_of_row(), is_pinned=pins.is_pinned_by(request.user)
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Read-only: every change has an address and a service of its own.
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        rows = drift_page.with_neighbours(self.get_queryset(request), permissions_of(request))
        deployment: Any = self.visible_or_404(request, object_id, rows)
        frame = {
            **self.frame(request, deployment),
            "title": f"{deployment} in {deployment.environment}",
            "visited_key": f"{palette.DEPLOYMENT}-{deployment.pk}",
        }
        page_context = page.context(request, deployment, deployment.namesakes)
        return TemplateResponse(request, "portal/deployment/page.html", frame | page_context | (extra_context or {}))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "run": ("run/", require_http_methods(["GET", "HEAD", "POST"])(self.run)),
            "choices": ("run/choices/", require_safe(self.choices)),
            "save_preset": ("run/save-preset/", require_http_methods(["GET", "HEAD", "POST"])(self.save_preset)),
            "link": ("run/link/", require_http_methods(["GET", "HEAD", "POST"])(self.link)),
            "quick_run": ("quick-run/", require_POST(self.quick_run)),
            "backfill": ("backfill/", require_http_methods(["GET", "HEAD", "POST"])(self.backfill)),
            "schedule": ("schedule/", require_http_methods(["GET", "HEAD", "POST"])(self.add_schedule)),
            "pause": ("pause/", require_POST(self.pause)),
            "resume": ("resume/", require_POST(self.resume)),
            **{
                f"{what}_schedule": (
                    f"schedules/<uuid:schedule>/{what}/",
                    require_POST(partial(self.switch_schedule, what=what)),
                )
                for what in prefect_schedules.SERVICES
            },
            "limits": ("limits/", require_POST(self.limits)),
            "pin": ("pin/", require_POST(partial(self.set_pin, pins.pin, "pinned."))),
            "unpin": ("unpin/", require_POST(partial(self.set_pin, pins.unpin, "unpinned."))),
            "drift": ("drift/", require_safe(self.drift)),
        }
        routes = [
            path(
                f"<int:pk>/{route}", through_sign_in(self.admin_site.admin_view(view)), name=f"flows_deployment_{name}"
            )
            for name, (route, view) in views.items()
        ]
        # First: Django's own routes end with a catch-all, `<path:object_id>/`.
        return [*routes, *super().get_urls()]

    def address(self, deployment: Deployment) -> str:
        return reverse("admin:flows_deployment_change", args=[deployment.pk])

    def run(self, request: HttpRequest, pk: int) -> HttpResponse:
        deployment: Deployment = self.visible_or_404(request, pk)
        run_form_page.require_permission(request, deployment)
        return run_form_page.view(request, deployment, self.frame(request, deployment))

    def choices(self, request: HttpRequest, pk: int) -> HttpResponse:
        deployment: Deployment = self.visible_or_404(request, pk)
        run_form_page.require_permission(request, deployment)
        return choice_search.view(request, deployment)

    def save_preset(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.keep(request, pk, keep_values.save_preset)

    def link(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.keep(request, pk, keep_values.copy_link)

    def keep(self, request: HttpRequest, pk: int, view: Callable[..., HttpResponse]) -> HttpResponse:
        """Keep what is in the run form; a reload of the answer shows the form."""
        deployment: Deployment = self.visible_or_404(request, pk)
        if request.method != "POST":
            form = reverse("admin:flows_deployment_run", args=[pk])
            return HttpResponseRedirect(f"{form}{run_form_page.query_of(request, deployment)}")
        return view(request, deployment, self.frame(request, deployment))

    def frame(self, request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "opts": self.opts, "original": deployment}

    def quick_run(self, request: HttpRequest, pk: int) -> HttpResponse:
        deployment: Deployment = self.visible_or_404(request, pk)
        run_form_page.require_permission(request, deployment)
        return quick_run.view(request, deployment, self.frame(request, deployment))

    def backfill(self, request: HttpRequest, pk: int) -> HttpResponse:
        deployment: Deployment = self.visible_or_404(request, pk)
        return backfill_page.view(request, deployment, self.frame(request, deployment))

    def add_schedule(self, request: HttpRequest, pk: int) -> HttpResponse:
        deployment: Deployment = self.visible_or_404(request, pk)
        return schedule_form.view(request, deployment, self.frame(request, deployment))

    def drift(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the deployment next to the same one in other environments."""
        deployment: Deployment = self.visible_or_404(request, pk)
        frame = {**self.frame(request, deployment), "title": f"Environment drift of {deployment}"}
        return TemplateResponse(request, "portal/drift/page.html", frame | drift_page.context(request, deployment))

    def pause(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.call(request, pk, pausing.pause, "Pause requested. The schedules stop shortly.")

    def resume(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.call(request, pk, pausing.resume, "Resume requested. The schedules continue shortly.")

    def switch_schedule(self, request: HttpRequest, pk: int, schedule: UUID, what: str) -> HttpResponse:
        deployment: Deployment = self.visible_or_404(request, pk)
        prefect_schedules.switch(request, deployment, schedule, what)
        return redirect_back(request, self.address(deployment))

    def limits(self, request: HttpRequest, pk: int) -> HttpResponse:
        deployment: Deployment = self.visible_or_404(request, pk)
        change_limits(request, deployment)
        return redirect_back(request, self.address(deployment))

    def set_pin(self, service: Callable[..., None], done: str, request: HttpRequest, pk: int) -> HttpResponse:
        deployment: Deployment = self.visible_or_404(request, pk)
        attempt(request, deployment, lambda: service(deployment, by=actor_of(request)), done)
        return redirect_back(request, self.address(deployment))

    def call(self, request: HttpRequest, pk: int, service: Callable[..., object], done: str) -> HttpResponse:
        deployment: Deployment = self.visible_or_404(request, pk)
        perform(request, lambda reason: service(deployment, by=actor_of(request), reason=reason), done)
        return redirect_back(request, self.address(deployment))
