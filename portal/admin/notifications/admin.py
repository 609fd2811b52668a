"""Notifications: each user's messages, unread ones first, and what they chose to receive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib import messages as banners
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, URLResolver, path, reverse
from django.views.decorators.http import require_POST

from flows.wording import plural
from portal.admin.base import RestrictedAdmin
from portal.admin.notifications.message_lines import failed_emails, read_lines, unread_lines
from portal.admin.notifications.subscription_table import split_choice, subscription_table
from portal.auth.request_user import actor_of, permissions_of
from runs import notifications
from runs.actors import is_administrator
from runs.errors import Refused
from runs.models import Notification, Verb


@admin.register(Notification)
class NotificationAdmin(RestrictedAdmin):
    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let every active user in: the page shows only their own notifications."""
        return bool(request.user.is_active)

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        # Not even administrators read the notifications of others, which quote reasons of hidden deployments.
        return Q(person=request.user.pk)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, Callable[[HttpRequest], HttpResponse]] = {"choose": self.choose, "read": self.mark_read}
        urls: list[URLPattern | URLResolver] = [
            path(f"{name}/", self.admin_site.admin_view(require_POST(view)), name=f"runs_notification_{name}")
            for name, view in views.items()
        ]
        return [*urls, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not request.user.is_authenticated:
            raise PermissionDenied("Sign in first.")
        places = list(permissions_of(request).environments())
        before = request.GET.get("before", "")
        older, following = read_lines(request.user, before)
        context = {
            **self.admin_site.each_context(request),
            "title": "Notifications",
            "opts": self.opts,
            "places": places,
            "table": subscription_table(request, places),
            "unread_lines": unread_lines(request.user) if not before else [],
            "read_lines": older,
            "following": following,
            "is_first": not before,
            "failed": failed_emails() if is_administrator(request.user) else None,
            "has_address": bool(request.user.email),
            "email": request.user.email,
            "sends_mail": settings.SENDS_MAIL,
        }
        return render(request, "portal/notifications/page.html", context | (extra_context or {}))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # A notification has no page of its own: it links to what it is about.
        raise Http404

    def choose(self, request: HttpRequest) -> HttpResponse:
        """Replace the reader's subscriptions by the checked boxes."""
        person = request.user
        if not person.is_authenticated:
            raise PermissionDenied("Sign in first.")
        try:
            # Unchecked boxes are not sent, so this is the complete list; the service removes the others.
            wanted = [split_choice(value) for value in request.POST.getlist("wanted")]
            notifications.subscribe(person, wanted, by=actor_of(request))
        except Refused as refusal:
            banners.warning(request, refusal.message, extra_tags=refusal.code)
        else:
            banners.success(request, "Preferences saved.")
        return HttpResponseRedirect(reverse("admin:runs_notification_changelist"))

    def mark_read(self, request: HttpRequest) -> HttpResponse:
        """Mark the reader's chosen messages as read, or all of them; nothing is marked twice."""
        chosen = [int(pk) for pk in request.POST.getlist("notice") if pk.isdecimal() and len(pk) <= 18]
        number = notifications.mark_read(actor_of(request), None if "all" in request.POST else chosen)
        if "quiet" in request.POST:
            # By the script, when a link of a message was followed.
            return HttpResponse(status=204)
        banners.success(request, f"{plural(number, 'notification')} marked as read.")
        return HttpResponseRedirect(reverse("admin:runs_notification_changelist"))
