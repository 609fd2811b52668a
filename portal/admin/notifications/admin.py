"""Notifications: each user's email preferences and recent notifications."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib import messages as banners
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Prefetch, Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, URLResolver, path, reverse
from django.views.decorators.http import require_POST

from flows.models import Environment
from portal.admin.base import RestrictedAdmin
from portal.auth.request_user import actor_of, permissions_of
from portal.ui.audit_links import address
from portal.ui.rule_labels import Badge
from runs import notifications
from runs.actors import is_administrator
from runs.errors import Refused
from runs.models import Delivery, Notification, Verb
from runs.models.notification import OVERSIGHT, Topic

# The page lists no more: it shows whether email works, and is no archive.
FEW = 30
EVERYWHERE = "all"
COLOURS: dict[str, str] = {
    Delivery.State.WANTED: "blue",
    Delivery.State.SENT: "green",
    Delivery.State.FAILED: "red",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One check box; `value` is "topic:environment id" or "topic:all"."""

    value: str
    is_ticked: bool
    label: str
    # Received in any case, whatever is ticked.
    is_fixed: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A notification with the state of a delivery."""

    notice: Notification
    delivery: Delivery | None
    badge: Badge | None
    path: str


@admin.register(Notification)
class NotificationAdmin(RestrictedAdmin):
    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let every active user in: the page shows only their own notifications."""
        return bool(request.user.is_active)

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        # Not even administrators read the notifications of others, which quote reasons of hidden deployments.
        return Q(person=request.user.pk)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        choose: Callable[..., HttpResponse] = self.admin_site.admin_view(require_POST(self.choose))
        return [path("choose/", choose, name="runs_notification_choose"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not request.user.is_authenticated:
            raise PermissionDenied("Sign in first.")
        emails = Prefetch("deliveries", Delivery.objects.filter(channel=None))
        notices = request.user.notices.order_by("-created_at", "-pk").prefetch_related(emails)[:FEW]
        places = list(permissions_of(request).environments())
        context = {
            **self.admin_site.each_context(request),
            "title": "Notifications",
            "opts": self.opts,
            "places": places,
            "table": subscription_table(request, places),
            "recent": [line(notice, next(iter(notice.deliveries.all()), None)) for notice in notices],
            "failed": failed_deliveries() if is_administrator(request.user) else None,
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


def split_choice(value: str) -> tuple[str, int | None]:
    """Split the value of a box into topic and environment id; None for all environments. Raises `Refused`."""
    # From the right, because a topic may contain a colon one day and an id never does.
    topic, _, place = value.rpartition(":")
    if place == EVERYWHERE:
        return topic, None
    if not place.isdecimal() or len(place) > 18:
        raise Refused("environment.unknown", "Unknown environment.")
    return topic, int(place)


def subscription_table(request: HttpRequest, places: list[Environment]) -> list[tuple[str, list[Cell]]]:
    """Return a row for each topic, with a box for all environments and one for each."""
    chosen = notifications.chosen_by(request.user) if isinstance(request.user, User) else set()
    is_overseer = notifications.overseers().filter(pk=request.user.pk or 0).exists()

    def is_fixed(topic: Topic) -> bool:
        return is_overseer and topic in OVERSIGHT

    return [
        (
            str(topic.label),
            [
                Cell(
                    f"{topic.value}:{place.pk if place else EVERYWHERE}",
                    is_fixed(topic) or (topic.value, place.pk if place else None) in chosen,
                    f"{topic.label} in {place or 'all environments'}",
                    is_fixed(topic),
                )
                for place in [None, *places]
            ],
        )
        for topic in Topic
    ]


def line(notice: Notification, delivery: Delivery | None) -> Line:
    path = address(notice.target_kind, notice.target_id) if notice.target_kind else ""
    badge = Badge(delivery.get_state_display(), COLOURS[delivery.state]) if delivery else None
    return Line(notice, delivery, badge, path)


def failed_deliveries() -> list[Line]:
    """Return what could not be sent to any user. Administrators see subject and error; the page leaves out the text."""
    rows = Delivery.objects.filter(state=Delivery.State.FAILED, channel=None).select_related("notification__person")
    return [line(delivery.notification, delivery) for delivery in rows.order_by("-pk")[:FEW]]
