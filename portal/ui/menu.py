"""The sidebar: its entries, and who sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from portal import inbox
from portal.auth.request_user import permissions_of
from portal.ui.run_links import list_url
from runs.models import Verb


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the sidebar; `badge` returns a number, which is displayed unless it is 0."""

    title: str
    icon: str
    model: str
    badge: Callable[[HttpRequest], int] | None = None
    # The letter that opens it after a “g”.
    shortcut: str = ""


# group -> entries, in the order of the sidebar. A group without visible entries is left out.
MENU: dict[str, list[Entry]] = {
    "Runs": [
        Entry("Run requests", "assignment", "runs.runrequest", inbox.waiting_for_me, "q"),
        Entry("Change requests", "approval_delegation", "runs.changerequest", inbox.changes_waiting_for_me),
        Entry("Runs", "play_circle", "runs.run", shortcut="r"),
        Entry("Failures", "error", "runs.failuregroup", shortcut="x"),
        Entry("Artifacts", "analytics", "runs.artifact"),
        Entry("Presets", "bookmark", "runs.preset"),
    ],
    "Automation": [
        Entry("Schedules", "event_repeat", "runs.schedule", shortcut="s"),
        Entry("Chains", "account_tree", "runs.chain"),
        Entry("Event rules", "bolt", "runs.eventrule"),
        Entry("Rule log", "receipt_long", "runs.rulefiring"),
        Entry("Hooks", "webhook", "runs.hook"),
    ],
    "Flows": [
        Entry("Environments", "dns", "flows.environment", shortcut="e"),
        Entry("Flows", "schema", "flows.flow", shortcut="f"),
        Entry("Deployments", "rocket_launch", "flows.deployment", shortcut="d"),
        Entry("Environment drift", "difference", "runs.drift"),
        Entry("Unassigned deployments", "move_item", "flows.unassigneddeployment"),
        Entry("Work pools", "lan", "flows.workpool", shortcut="w"),
        Entry("Concurrency limits", "traffic", "flows.globallimit"),
        Entry("Resource profiles", "memory", "runs.resourceprofile"),
        Entry("Service levels", "speed", "runs.servicelevel"),
        Entry("Aliases", "label", "flows.alias"),
    ],
    "Rules": [
        Entry("Grants", "key", "runs.grant"),
        Entry("Policies", "rule", "runs.policy"),
        Entry("Change windows", "calendar_month", "runs.window"),
        Entry("Bypasses", "alt_route", "runs.bypass"),
        Entry("Audit trail", "policy", "runs.auditentry", shortcut="a"),
        Entry("Run report", "summarize", "runs.reportedrun"),
    ],
    "Portal": [
        Entry("Notifications", "notifications", "runs.notification", shortcut="n"),
        Entry("Notification rules", "notification_settings", "runs.notificationrule"),
        Entry("Channels", "campaign", "runs.channel"),
        Entry("Tokens", "vpn_key", "runs.token"),
        Entry("Trusted jobs", "verified_user", "runs.jobtrust"),
        Entry("Agents", "robot_2", "runs.agent"),
        Entry("Service accounts", "smart_toy", "runs.serviceaccount"),
        Entry("Users", "person", "auth.user"),
        Entry("Groups", "group", "auth.group"),
    ],
}


def title_of(model: type[Model]) -> str:
    """Return the title of a model's menu entry, or "" without one: page titles and the menu must agree."""
    label = model._meta.label_lower
    return next((entry.title for entries in MENU.values() for entry in entries if entry.model == label), "")


def title_of_plural(name: str) -> str:
    """Return the menu title of the model with this plural name, else the name: “audit entries” is “Audit trail”."""
    for entries in MENU.values():
        for entry in entries:
            if str(apps.get_model(entry.model)._meta.verbose_name_plural) == name:
                return entry.title
    return name


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar in the theme's format (`UNFOLD["SIDEBAR"]["navigation"]`)."""
    overview = {"title": "Overview", "icon": "space_dashboard", "link": reverse("admin:index"), "shortcut": "o"}
    groups: list[dict[str, Any]] = [{"title": "", "items": [overview]}]
    # Model monitoring has no model, and so no admin that could be asked; its view checks the same permission.
    if permissions_of(request).can_any(Verb.SEE_LOGS):
        groups[0]["items"].append({"title": "Model monitoring", "icon": "monitoring", "link": reverse("monitoring")})
    for title, entries in MENU.items():
        items = [line(request, entry) for entry in entries if is_shown(request, entry)]
        if items:
            groups.append({"title": title, "separator": True, "items": items})
    return groups


def is_shown(request: HttpRequest, entry: Entry) -> bool:
    # The admin decides, not this table: an entry that leads to a 403, or a page without an entry, cannot happen.
    model = apps.get_model(entry.model)
    return admin.site.is_registered(model) and bool(admin.site.get_model_admin(model).has_module_permission(request))


def line(request: HttpRequest, entry: Entry) -> dict[str, Any]:
    """Return an entry in the theme's format."""
    link = list_url(entry.model.lower().replace(".", "_"))
    found: dict[str, Any] = {"title": entry.title, "icon": entry.icon, "link": link, "shortcut": entry.shortcut}
    if entry.badge:
        found |= {"badge": entry.badge(request), "badge_variant": "warning"}
    return found
