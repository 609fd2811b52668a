"""Notification rules: the list, a new one, the page of one, and the address that removes it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_POST

from portal.admin.actions import perform
from portal.admin.base import RestrictedAdmin
from portal.admin.filters import EnvironmentFilter
from portal.admin.notification_rules.forms import NotificationRuleForm
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import times
from runs.errors import Refused
from runs.models import NotificationRule
from runs.notifications import notification_rules


@admin.register(NotificationRule)
class NotificationRuleAdmin(RestrictedAdmin):
    list_display = ["rule", "receives", "topics", "applies_to", "created"]
    list_filter = [EnvironmentFilter]
    list_before_template = "portal/notification_rule/_tools.html"
    search_fields = ["name", "group__name", "channel__name", "full_name", "tag"]
    search_help_text = "Name, group, channel, deployment or tag"
    actions = None

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let every active user in: the list shows only their own rules and those of their groups."""
        return bool(request.user.is_active)

    def get_queryset(self, request: HttpRequest) -> QuerySet[NotificationRule]:
        return notification_rules.NOTIFICATION_RULES.rows(actor_of(request), permissions=permissions_of(request))

    @admin.display(description="rule", ordering="name")
    def rule(self, rule: NotificationRule) -> str:
        return rule.name if rule.removed_at is None else f"{rule.name} (removed)"

    @admin.display(description="receivers")
    def receives(self, rule: NotificationRule) -> str:
        return rule.receiver

    @admin.display(description="topics")
    def topics(self, rule: NotificationRule) -> str:
        after = f" after {rule.after_minutes} min" if rule.after_minutes else ""
        return f"{'; '.join(rule.topic_labels)}{after}"

    @admin.display(description="where")
    def applies_to(self, rule: NotificationRule) -> SafeString | str:
        if rule.environment and rule.selector == str(rule.environment):
            return render_to_string("portal/_environment.html", {"environment": rule.environment})
        return rule.selector

    @admin.display(description="created", ordering="created_at")
    def created(self, rule: NotificationRule) -> SafeString:
        return times.relative_time(rule.created_at)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        new = require_http_methods(["GET", "HEAD", "POST"])(self.new)
        remove = require_POST(self.remove)
        own = [
            path("new/", self.admin_site.admin_view(new), name="runs_notificationrule_new"),
            path("<int:pk>/remove/", self.admin_site.admin_view(remove), name="runs_notificationrule_remove"),
        ]
        return [*own, *super().get_urls()]

    def new(self, request: HttpRequest) -> HttpResponse:
        """Show the form; on POST create the rule."""
        data = request.POST if request.method == "POST" else None
        form = NotificationRuleForm(actor_of(request), permissions_of(request), data, initial=request.GET.dict())
        if data is not None and form.is_valid() and (made := self.create(request, form)):
            return made
        context = {
            **self.admin_site.each_context(request),
            "title": "New notification rule",
            "opts": self.opts,
            "form": form,
            "newest": form.newest(),
        }
        return render(request, "portal/notification_rule/form.html", context)

    def create(self, request: HttpRequest, form: NotificationRuleForm) -> HttpResponse | None:
        """Create the rule of a valid form, once; None if it is refused, which the form then says."""
        if form.is_repeated():
            messages.warning(request, "This rule has just been created.", extra_tags="notification_rule.repeated")
            return HttpResponseRedirect(reverse("admin:runs_notificationrule_changelist"))
        try:
            notification_rules.create(by=actor_of(request), **form.arguments())
        except Refused as refusal:
            form.refuse(refusal)
            return None
        messages.success(request, "Notification rule created.")
        return HttpResponseRedirect(reverse("admin:runs_notificationrule_changelist"))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        rule: NotificationRule = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": "Notification rule",
            "opts": self.opts,
            "original": rule,
            "rule": rule,
            "may_remove": notification_rules.can_remove(rule, actor_of(request)),
        }
        return TemplateResponse(request, "portal/notification_rule/page.html", context | (extra_context or {}))

    def remove(self, request: HttpRequest, pk: int) -> HttpResponse:
        rule: NotificationRule = self.visible_or_404(request, pk)
        perform(
            request,
            lambda reason: notification_rules.remove(rule, by=actor_of(request), reason=reason),
            "Notification rule removed.",
        )
        return HttpResponseRedirect(reverse("admin:runs_notificationrule_change", args=[rule.pk]))
