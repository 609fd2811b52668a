"""Deployments: what can be run, and the buttons that ask for it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_POST

from flows.models import Deployment
from flows.parameters import Invalid, runnable_as_is
from portal.admin.actions import perform, reason_of, redirect_back, ticket_of
from portal.admin.base import RestrictedAdmin, attempt
from portal.admin.deployments import page
from portal.admin.deployments.filters import GoneFilter, PausedFilter, PoolFilter, TagFilter
from portal.admin.deployments.list import DeploymentList
from portal.admin.filters import EnvironmentFilter
from portal.admin.run_form import confirm
from portal.admin.run_form import page as run_form_page
from portal.auth.request_user import actor_of
from runs import requests
from runs.access.decisions import Forbidden, Target
from runs.errors import Refused
from runs.governance import pausing
from runs.governance.requirements import requirements_for
from runs.models import RunRequest

MOST_AT_ONCE = 50


@admin.register(Deployment)
class DeploymentAdmin(RestrictedAdmin):
    list_display = ["titled", "where", "work", "schedule", "last_run", "door"]
    list_filter = [EnvironmentFilter, TagFilter, PoolFilter, PausedFilter, GoneFilter]
    list_filter_submit = True
    ordering = ["full_name", "environment__position", "pk"]
    change_list_template = "portal/deployment/list.html"
    search_fields = ["full_name", "description", "entrypoint"]
    search_help_text = "Name of the flow or the deployment, its description or entrypoint"
    actions = ["quick_run_selected", "pause_selected", "resume_selected"]

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DeploymentList]:
        return DeploymentList

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

    @admin.display(description="")
    def door(self, deployment: Deployment) -> SafeString:
        return render_to_string("portal/deployment/_door.html", {"deployment": deployment})

    @admin.action(description="Quick run with the defaults …", permissions=["trigger"])
    def quick_run_selected(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse | None:
        return self.do_to_many(request, queryset, "quick_run_selected", "Quick run", self.run_as_is)

    @admin.action(description="Pause schedules …", permissions=["pause"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse | None:
        return self.do_to_many(request, queryset, "pause_selected", "Pause", partial(self.switch, pausing.pause))

    @admin.action(description="Resume schedules …", permissions=["pause"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse | None:
        return self.do_to_many(request, queryset, "resume_selected", "Resume", partial(self.switch, pausing.resume))

    def do_to_many(
        self,
        request: HttpRequest,
        queryset: QuerySet[Deployment],
        action: str,
        title: str,
        act: Callable[[HttpRequest, Deployment, str], object],
    ) -> HttpResponse | None:
        """Ask for the reason, then do it to each; what is refused for one is done for the others."""
        deployments = list(queryset[: MOST_AT_ONCE + 1])
        if len(deployments) > MOST_AT_ONCE:
            messages.warning(request, f"At most {MOST_AT_ONCE} deployments at once. Select fewer.")
            return None
        rules = [requirements_for(Target.of(deployment)) for deployment in deployments]
        is_run = action == "quick_run_selected"
        to_type = dict.fromkeys(each.place for each in rules if is_run and each.needs_confirmation)
        is_confirmed = all(request.POST.get(f"confirmation-{place}", "").strip() == place for place in to_type)
        if "reason" in request.POST and is_confirmed:
            for deployment in deployments:
                attempt(request, deployment, partial(self.act_with_reason, act, request, deployment), "asked for.")
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": f"{title} {len(deployments)} deployment{'' if len(deployments) == 1 else 's'}",
            "opts": self.opts,
            "rows": [{"deployment": deployment, "key": uuid.uuid4()} for deployment in deployments],
            "action": action,
            "verb": title,
            "needs_reason": any(each.needs_reason for each in rules),
            "asks_ticket": is_run and any(each.needs_ticket or each.ticket_patterns for each in rules),
            "needs_ticket": any(each.needs_ticket for each in rules),
            "to_type": list(to_type),
            "typed_wrong": "reason" in request.POST,
            "reason": request.POST.get("reason", ""),
            "ticket": request.POST.get("ticket", ""),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return render(request, "portal/deployment/ask_reason.html", context)

    def act_with_reason(self, act: Callable[..., object], request: HttpRequest, deployment: Deployment) -> None:
        act(request, deployment, reason_of(request))

    def switch(self, verb: Callable[..., object], request: HttpRequest, deployment: Deployment, reason: str) -> None:
        verb(deployment, by=actor_of(request), reason=reason)

    def run_as_is(self, request: HttpRequest, deployment: Deployment, reason: str) -> RunRequest:
        """Ask for a run with nothing but the defaults; the form that was pressed names the key that makes it one."""
        try:
            return requests.submit(
                deployment,
                {},
                by=actor_of(request),
                reason=reason,
                ticket=ticket_of(request),
                submission_key=run_form_page.key_of(request, f"submission_key-{deployment.pk}", "submission_key"),
            )
        except Invalid as invalid:
            raise Refused(
                "parameters.default_invalid", f"It cannot run with its default parameters: {invalid}"
            ) from invalid

    # The page

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        return super().get_queryset(request).select_related("environment__health")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        deployment: Deployment = self.visible_or_404(request, object_id)
        frame = {
            **self.admin_site.each_context(request),
            "title": deployment.full_name,
            "opts": self.opts,
            "original": deployment,
        }
        shown = page.context(request, deployment)
        return TemplateResponse(request, "portal/deployment/page.html", frame | shown | (extra_context or {}))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        doors: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "run": ("run/", require_http_methods(["GET", "HEAD", "POST"])(self.run)),
            "quick_run": ("quick-run/", require_POST(self.quick_run)),
            "pause": ("pause/", require_POST(self.pause)),
            "resume": ("resume/", require_POST(self.resume)),
        }
        routes = [
            path(f"<int:pk>/{route}", self.admin_site.admin_view(view), name=f"flows_deployment_{name}")
            for name, (route, view) in doors.items()
        ]
        return [*routes, *super().get_urls()]

    def address(self, deployment: Deployment) -> str:
        return reverse("admin:flows_deployment_change", args=[deployment.pk])

    def run(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The form that asks for a run."""
        deployment: Deployment = self.visible_or_404(request, pk)
        run_form_page.needs_confirmation(request, deployment)
        return run_form_page.view(request, deployment, self.frame(request, deployment))

    def frame(self, request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "opts": self.opts, "original": deployment}

    def quick_run(self, request: HttpRequest, pk: int) -> HttpResponse:
        deployment: Deployment = self.visible_or_404(request, pk)
        run_form_page.needs_confirmation(request, deployment)
        is_complete = runnable_as_is(deployment.parameter_schema, deployment.parameter_defaults)
        rules = requirements_for(Target.of(deployment))
        if rules.needs_reason or rules.needs_ticket or not is_complete:
            return HttpResponseRedirect(reverse("admin:flows_deployment_run", args=[deployment.pk]))
        if rules.needs_confirmation and not deployment.deleted_upstream_at:
            key = run_form_page.key_of(request, "submission_key") or uuid.uuid4()
            return confirm.confirm_quickly(request, deployment, self.frame(request, deployment), key)
        try:
            run_request = self.run_as_is(request, deployment, "")
        except Forbidden as forbidden:
            raise PermissionDenied(str(forbidden)) from forbidden
        except Refused as refusal:
            messages.warning(request, refusal.message, extra_tags=refusal.code)
            return HttpResponseRedirect(self.address(deployment))
        messages.success(request, f"{deployment} was asked for with its defaults.")
        return HttpResponseRedirect(reverse("admin:runs_runrequest_change", args=[run_request.pk]))

    def pause(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.press_switch(request, pk, pausing.pause, "Its schedules will be paused in a moment.")

    def resume(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.press_switch(request, pk, pausing.resume, "Its schedules will go on in a moment.")

    def press_switch(self, request: HttpRequest, pk: int, verb: Callable[..., object], done: str) -> HttpResponse:
        deployment: Deployment = self.visible_or_404(request, pk)
        perform(request, lambda reason: verb(deployment, by=actor_of(request), reason=reason), done)
        return redirect_back(request, self.address(deployment))
