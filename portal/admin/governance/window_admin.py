"""Change windows: when runs may start, and when they may not."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.loader import render_to_string
from django.urls import URLPattern, URLResolver, path
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from flows import cron_text
from flows.local_time import zone_names
from portal.admin.filters import EnvironmentFilter
from portal.admin.governance.selector_admin import INPUT, SELECTOR, SelectorAdmin, SelectorForm
from portal.auth.request_user import actor_of
from portal.ui import calendar, schedule_labels, times
from portal.ui.live_input import LiveInput
from portal.ui.text import number
from portal.ui.time_readings import NEXT, Reading, show
from runs.governance import policies, windows
from runs.models import ChangeRequest, Freeze, Window

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
            "cron": LiveInput(
                {**INPUT, "placeholder": "0 22 * * 1-5", "autocomplete": "off", "spellcheck": "false"},
                address="admin:runs_window_reading",
                watched=["cron", "minutes", "time_zone", "effect"],
            ),
            "minutes": forms.NumberInput({**INPUT, "min": 1}),
            "time_zone": forms.TextInput({**INPUT, "list": "time-zones"}),
            "reason": forms.Textarea({**INPUT, "rows": 2}),
        }
        labels = {"effect": "Effect", "cron": "Start (cron)", "minutes": "Duration (minutes)", "is_active": "Active"}
        help_texts = {
            "cron": "Minute, hour, day of month, month, weekday. For example 0 22 * * 1-5, 0 6 * * 6 or 0 0 L * *.",
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
        texts = {name: values.get(name) or "" for name in ("name", "cron", "time_zone")}
        for problem in policies.window_problems(Window(**texts, minutes=values.get("minutes") or 0)):
            field = FIELD_OF.get(problem.code)
            # What is missing or is no number has an error already.
            if field not in self.errors:
                self.add_error(field, forms.ValidationError(problem.message, problem.code))
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
        return render_to_string(
            "portal/window/_when.html",
            {"window": window, "lasts": lasts(window), "words": cron_text.describe(window.cron)},
        )

    @admin.display(description="now")
    def now(self, window: Window) -> SafeString:
        badge, changes_at = calendar.now_of(window, timezone.now())
        return render_to_string("portal/window/_now.html", {"badge": badge, "changes_at": changes_at})

    def get_urls(self) -> list[URLPattern | URLResolver]:
        read = self.admin_site.admin_view(require_safe(self.reading))
        return [path("reading/", read, name="runs_window_reading"), *super().get_urls()]

    def reading(self, request: HttpRequest) -> HttpResponse:
        """Read what is typed as the times of a window, while it is typed."""
        row = typed_window(request.GET)
        # A duration that is not typed yet is no mistake.
        problems = [each for each in policies.window_problems(row) if row.minutes or each.code != "window.minutes"]
        if not row.cron or problems:
            return show(request, Reading(problems=[each.message for each in problems if row.cron]))
        facts = [cron_text.describe(row.cron), f"for {lasts(row)}" if row.minutes else ""]
        reading = Reading(
            f"{', '.join(filter(None, facts)) or 'at the times below'} ({row.time_zone})",
            schedule_labels.starts(windows.next_starts(row, timezone.now(), NEXT), row.time_zone),
            heading="Next times" if row.effect == Window.Effect.DENY else "Next openings",
        )
        return show(request, reading)

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
            "words": cron_text.describe(row.cron),
            "openings": calendar.openings(row, now),
            "portal_time_zone": timezone.get_current_timezone_name(),
            "picture": calendar.picture_of(row, frozen, now),
        }

    def suggestions(self, request: HttpRequest) -> dict[str, Any]:
        return {**super().suggestions(request), "time_zones": sorted(zone_names())}

    def save_row(self, request: HttpRequest, row: Window, confirmation: dict[str, Any]) -> ChangeRequest | None:
        return policies.save_window(row, by=actor_of(request), **confirmation)

    def delete_row(self, request: HttpRequest, row: Window, confirmation: dict[str, Any]) -> ChangeRequest | None:
        return policies.delete_window(row, by=actor_of(request), **confirmation)


def typed_window(typed: QueryDict) -> Window:
    """Return the times of a window as they are typed so far; what cannot be read is left as a new window has it."""
    column = Window._meta.get_field
    texts = {name: typed.get(name, "").strip()[: column(name).max_length] for name in ("cron", "time_zone")}  # type: ignore[union-attr]  # no relation is named here
    minutes = number(typed.get("minutes", ""), otherwise=0) or 0
    return Window(**texts, minutes=minutes, effect=typed.get("effect", ""))


def lasts(window: Window) -> str:
    """Return the duration of a window, such as “2 h”."""
    return times.span(window.minutes * 60)
