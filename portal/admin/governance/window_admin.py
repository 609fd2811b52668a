"""Change windows: when runs may start, and when they may not."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString

from flows.local_time import zone_names
from portal.admin.filters import EnvironmentFilter
from portal.admin.governance.selector_admin import INPUT, SELECTOR, SelectorAdmin, SelectorForm
from portal.auth.request_user import actor_of
from portal.ui import calendar, times
from runs.errors import Refused
from runs.governance import policies
from runs.models import ChangeRequest, Freeze, Window

# Common cron expressions, displayed beside the field: expression -> meaning.
EXAMPLES = {
    "0 22 * * 1-5": "at 22:00, Monday to Friday",
    "0 6 * * 6": "at 06:00 on Saturdays",
    "0 0 L * *": "at 00:00 on the last day of each month",
}


# code of a refusal -> the field that shows it; others are shown at the top of the form
FIELD_OF = {
    "window.time_zone": "time_zone",
    "window.cron": "cron",
    "window.cron_never": "cron",
    "window.minutes": "minutes",
    "name.taken": "name",
}


class WindowForm(SelectorForm):
    class Meta:
        model = Window
        fields = ["name", "effect", "cron", "minutes", "time_zone", "reason", "is_active", *SELECTOR]
        widgets = {
            "name": forms.TextInput(INPUT),
            "effect": forms.Select(INPUT),
            "cron": forms.TextInput({**INPUT, "placeholder": next(iter(EXAMPLES))}),
            "minutes": forms.NumberInput({**INPUT, "min": 1}),
            "time_zone": forms.TextInput({**INPUT, "list": "time-zones"}),
            "reason": forms.Textarea({**INPUT, "rows": 2}),
        }
        labels = {"effect": "Effect", "cron": "Start (cron)", "minutes": "Duration (minutes)", "is_active": "Active"}
        help_texts = {
            "cron": "Minute, hour, day of month, month, weekday.",
            "minutes": "Elapsed minutes, unaffected by DST.",
            "is_active": "Ignored when off.",
            "reason": "Shown to users.",
        }

    field_order = ["name", "effect", "cron", "minutes", "time_zone", "reason", "is_active", *SELECTOR]

    def __init__(self, data: Any = None, *, instance: Any = None) -> None:
        super().__init__(data, instance=instance)
        # A new window starts with the zone that the pages show; an existing one keeps its own.
        if not self.instance.pk:
            self.fields["time_zone"].initial = timezone.get_current_timezone_name()

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        # Only when every field is valid: the service expects typed values, and reports one problem at a time.
        if not self.errors:
            row = Window(**{name: values[name] for name in ("name", "cron", "minutes", "time_zone")})
            try:
                policies.require_valid_window(row)
            except Refused as refusal:
                self.add_error(FIELD_OF.get(refusal.code), forms.ValidationError(refusal.message, refusal.code))
        return values


@admin.register(Window)
class WindowAdmin(SelectorAdmin):
    form = WindowForm
    heading = "Add change window"
    template = "portal/window/page.html"
    list_display = ["name", "applies_to", "when", "now"]
    list_filter = [EnvironmentFilter]
    list_select_related = ["environment"]
    search_fields = ["name", "flow_name", "full_name", "tag", "reason"]

    @admin.display(description="applies to")
    def applies_to(self, window: Window) -> str:
        return window.selector

    @admin.display(description="schedule")
    def when(self, window: Window) -> SafeString:
        return render_to_string("portal/window/_when.html", {"window": window, "lasts": lasts(window)})

    @admin.display(description="now")
    def now(self, window: Window) -> SafeString:
        badge, changes_at = calendar.now_of(window, timezone.now())
        return render_to_string("portal/window/_now.html", {"badge": badge, "changes_at": changes_at})

    def describe(self, row: Window) -> dict[str, Any]:
        now = timezone.now()
        badge, changes_at = calendar.now_of(row, now)
        # Drawn with the window, because a freeze holds runs even while the window allows them.
        frozen = Freeze.objects.filter(environment=row.environment_id, lifted_at=None).select_related("environment")
        return {
            "window": row,
            "badge": badge,
            "changes_at": changes_at,
            "lasts": lasts(row),
            "openings": calendar.openings(row, now),
            "portal_time_zone": timezone.get_current_timezone_name(),
            "picture": calendar.picture_of(row, frozen, now),
        }

    def suggestions(self, request: HttpRequest) -> dict[str, Any]:
        return {**super().suggestions(request), "time_zones": sorted(zone_names()), "examples": EXAMPLES}

    def save_row(self, request: HttpRequest, row: Window, confirmation: dict[str, Any]) -> ChangeRequest | None:
        return policies.save_window(row, by=actor_of(request), **confirmation)

    def delete_row(self, request: HttpRequest, row: Window, confirmation: dict[str, Any]) -> ChangeRequest | None:
        return policies.delete_window(row, by=actor_of(request), **confirmation)


def lasts(window: Window) -> str:
    """Return the duration of a window, such as “2 h”."""
    return times.span(window.minutes * 60)
