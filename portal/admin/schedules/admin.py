"""Schedules: the list, the calendar, the page of one, and the addresses that pause, resume and end it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from portal.admin.actions import perform, redirect_back, ticket_of
from portal.admin.base import RestrictedAdmin
from portal.admin.filters import EnvironmentFilter
from portal.admin.renewal_filter import ScheduleRenewalFilter
from portal.admin.schedules import calendar_page, page, rule_reading
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import times
from runs.automation import schedule_copies, schedule_listings, schedules
from runs.models import Schedule


@admin.register(Schedule)
class ScheduleAdmin(RestrictedAdmin):
    list_display = ["name", "deployment_shown", "where", "rule_shown", "state_badge", "next_start", "owner", "ends"]
    list_filter = [EnvironmentFilter, "state", ScheduleRenewalFilter]
    list_before_template = "portal/schedule/_tools.html"
    search_fields = ["name", "deployment__full_name", "change__requested_by_name"]
    search_help_text = "Name, deployment or owner"
    deployment_lookup = "deployment__"
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Schedule]:
        return schedule_listings.visible_to(permissions_of(request))

    # The list

    @admin.display(description="deployment", ordering="deployment__full_name")
    def deployment_shown(self, schedule: Schedule) -> SafeString:
        return render_to_string("portal/_name.html", {"full_name": schedule.deployment.full_name})

    @admin.display(description="environment", ordering="environment")
    def where(self, schedule: Schedule) -> SafeString:
        return render_to_string("portal/_environment.html", {"environment": schedule.environment})

    @admin.display(description="rule")
    def rule_shown(self, schedule: Schedule) -> SafeString:
        return render_to_string("portal/schedule/_rule.html", {"schedule": schedule})

    @admin.display(description="state", ordering="state")
    def state_badge(self, schedule: Schedule) -> SafeString:
        return render_to_string("portal/_state.html", {"row": schedule})

    @admin.display(description=times.in_zone("next start"), ordering="next_due")
    def next_start(self, schedule: Schedule) -> SafeString:
        return times.clock_and_age(schedule.next_due)

    @admin.display(description="owner", ordering="change__requested_by_name")
    def owner(self, schedule: Schedule) -> str:
        return schedule.change.requester

    @admin.display(description="ends", ordering="valid_until")
    def ends(self, schedule: Schedule) -> str:
        return times.day(schedule.valid_until)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "calendar": ("calendar/", require_safe(self.calendar)),
            "reading": ("reading/", require_safe(rule_reading.view)),
            "pause": ("<int:pk>/pause/", require_POST(self.pause)),
            "resume": ("<int:pk>/resume/", require_POST(self.resume)),
            "end": ("<int:pk>/end/", require_POST(self.end)),
            "put_back": ("<int:pk>/put_back/", require_POST(self.put_back)),
        }
        own = [
            path(route, self.admin_site.admin_view(view), name=f"runs_schedule_{name}")
            for name, (route, view) in views.items()
        ]
        return [*own, *super().get_urls()]

    # Its page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        schedule: Schedule = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Schedule {schedule.name}",
            "opts": self.opts,
            "original": schedule,
            **page.context(schedule, actor_of(request), permissions_of(request)),
        }
        return TemplateResponse(request, "portal/schedule/page.html", context | (extra_context or {}))

    def calendar(self, request: HttpRequest) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            **calendar_page.context(request, self.get_queryset(request)),
        }
        return TemplateResponse(request, "portal/schedule/calendar.html", context)

    def pause(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.call(request, pk, schedules.pause, "Paused. No run starts until it is resumed.")

    def resume(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.call(request, pk, schedules.resume, "Resumed.")

    def end(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.call(request, pk, schedules.end, "Ended. No run starts any more.")

    def put_back(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.call(request, pk, schedule_copies.put_back, "It is being saved in Prefect as it was approved.")

    def call(self, request: HttpRequest, pk: int, service: Callable[..., None], done: str) -> HttpResponse:
        """Call a service that needs only the schedule, a reason and a ticket."""
        schedule: Schedule = self.visible_or_404(request, pk)
        act = partial(service, schedule, by=actor_of(request))
        perform(request, lambda reason: act(reason=reason, ticket=ticket_of(request)), done)
        return redirect_back(request, reverse("admin:runs_schedule_change", args=[schedule.pk]))
