"""Agents: the list with the stop of all, and one page with budget, tokens, calls and the stop of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Max, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from flows.wording import plural
from portal.admin.actions import perform
from portal.admin.agents import page
from portal.admin.agents.forms import AgentForm
from portal.admin.base import RestrictedAdmin
from portal.auth.request_user import actor_of
from portal.ui import times
from runs.changes import agent_stop
from runs.errors import Refused
from runs.governance import agents
from runs.models import Agent


@admin.register(Agent)
class AgentAdmin(RestrictedAdmin):
    list_display = ["name", "owner", "purpose", "state", "day", "at_once", "last_call"]
    list_before_template = "portal/agent/_tools.html"
    search_fields = ["name", "owner__username", "purpose"]
    search_help_text = "Name, owner or purpose"
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        return agents.with_usage(agents.visible_to(actor_of(request))).annotate(last_called_at=Max("uses__last_at"))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let every active user in: agents are their own."""
        return bool(request.user.is_active)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active)

    # The list

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {**page.stop_of_all(actor_of(request)), **(extra_context or {})})

    @admin.display(description="state")
    def state(self, agent: Agent) -> SafeString:
        return render_to_string("portal/_state.html", {"row": page.badge(agent)})

    @admin.display(description="requests in 24 h")
    def day(self, agent: Any) -> str:
        return f"{agent.asked + agent.cancelled} of {agent.requests_per_day}"

    @admin.display(description="open runs", ordering="open_runs")
    def at_once(self, agent: Any) -> str:
        return f"{agent.open_runs + agent.to_come} of {agent.requests_at_once}"

    @admin.display(description="last call", ordering="last_called_at")
    def last_call(self, agent: Any) -> SafeString | str:
        return times.relative_time(agent.last_called_at) if agent.last_called_at else "never"

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "stop": ("<int:pk>/stop/", self.stop),
            "start": ("<int:pk>/start/", self.start),
            "stop_all": ("stop-all/", self.stop_all),
            "start_all": ("start-all/", self.start_all),
        }
        own = [
            path(route, self.admin_site.admin_view(require_POST(view)), name=f"runs_agent_{name}")
            for name, (route, view) in views.items()
        ]
        return [*own, *super().get_urls()]

    # Its page

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return self.page(request, None)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        agent: Agent = self.visible_or_404(request, object_id)
        if request.method == "POST" and not page.may_change(agent, actor_of(request)):
            raise PermissionDenied("Only its owner and administrators can change an agent.")
        return self.page(request, agent)

    def page(self, request: HttpRequest, agent: Agent | None) -> HttpResponse:
        """Render the page of an agent, or of a new one, and save the posted form."""
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        by = actor_of(request)
        form = AgentForm(request.POST if request.method == "POST" else None, agent=agent)
        # 1. Save. A refusal becomes an error of the form, so that what was typed stays.
        if request.method == "POST" and form.is_valid():
            try:
                saved = self.save(request, form, agent)
            except Refused as refusal:
                form.refuse(refusal)
            else:
                messages.success(request, f"{saved} saved.")
                return HttpResponseRedirect(page_of(saved))
        # 2. Render. Readers who may not change it get no form at all.
        context = {
            **self.admin_site.each_context(request),
            "title": str(agent) if agent else "New agent",
            "opts": self.opts,
            "original": agent,
            "form": form if agent is None or page.may_change(agent, by) else None,
            **page.stop_of_all(by),
            **(page.context(agent, by) if agent else {}),
        }
        return render(request, "portal/agent/page.html", context)

    def save(self, request: HttpRequest, form: AgentForm, agent: Agent | None) -> Agent:
        """Call the service; raises `Refused`."""
        if agent is None:
            return agents.create(by=actor_of(request), **form.cleaned_data)
        agents.change(agent, by=actor_of(request), **form.cleaned_data)
        return agent

    # Stop and start

    def stop(self, request: HttpRequest, pk: int) -> HttpResponse:
        agent: Agent = self.visible_or_404(request, pk)
        withdrawn: list[int] = []
        perform(
            request,
            lambda why: withdrawn.append(agent_stop.stop(agent, by=actor_of(request), why=why)),
            lambda: f"{agent} stopped, {plural(withdrawn[0], 'request')} withdrawn.",
        )
        return HttpResponseRedirect(page_of(agent))

    def start(self, request: HttpRequest, pk: int) -> HttpResponse:
        agent: Agent = self.visible_or_404(request, pk)
        perform(request, lambda why: agent_stop.start(agent, by=actor_of(request), why=why), f"{agent} started.")
        return HttpResponseRedirect(page_of(agent))

    def stop_all(self, request: HttpRequest) -> HttpResponse:
        withdrawn: list[int] = []
        perform(
            request,
            lambda why: withdrawn.append(agent_stop.stop_all(by=actor_of(request), why=why)),
            lambda: f"All agents stopped, {plural(withdrawn[0], 'request')} withdrawn.",
        )
        return HttpResponseRedirect(reverse("admin:runs_agent_changelist"))

    def start_all(self, request: HttpRequest) -> HttpResponse:
        perform(request, lambda why: agent_stop.start_all(by=actor_of(request), why=why), "All agents can act again.")
        return HttpResponseRedirect(reverse("admin:runs_agent_changelist"))


def page_of(agent: Agent) -> str:
    return reverse("admin:runs_agent_change", args=[agent.pk])
