"""Policies: what is required for a run."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import URLPattern, URLResolver, path
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from flows.parameters import formats
from flows.wording import plural
from portal.admin.filters import EnvironmentFilter
from portal.admin.governance.selector_admin import INPUT, SELECTOR, SelectorAdmin, SelectorForm
from portal.auth.request_user import actor_of
from portal.ui import rule_labels
from portal.ui.live_input import live_region
from runs.automation import ends
from runs.errors import Refused
from runs.governance import policies, token_limits
from runs.models import ChangeRequest, Policy
from runs.models.policy import Stage

EXAMPLE = "OPS-12"
DEFAULT = "environment default"
# What a policy that is only begun lacks; it requires nothing yet.
UNNAMED = {"name"}
OUTSIDE: dict[str, str] = {
    Policy.Outside.WAIT: "runs are held until the next window",
    Policy.Outside.REFUSE: "runs are refused",
}


class StagesWidget(forms.Widget):
    """One row for each stage: number of approvals and group. Plain inputs, so that it works without a script."""

    template_name = "portal/policy/_stages.html"
    use_fieldset = True

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        given = list(value or [])[: policies.MOST_STAGES]
        # Always as many rows as there may be stages: without a script no row can be added.
        blank = [{"needed": "", "group": ""}] * (policies.MOST_STAGES - len(given))
        context: dict[str, Any] = super().get_context(name, None, attrs)
        groups = list(Group.objects.order_by("name").values_list("name", flat=True))
        rows = list(enumerate([*given, *blank], start=1))
        # A blank row if there is none; the others are added one at a time.
        shown = len(given) or 1
        return context | {"stages": rows[:shown], "more_stages": rows[shown:], "groups": groups}

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, str]]:
        rows = range(1, policies.MOST_STAGES + 1)
        typed = [
            {"needed": data.get(f"{name}-{row}-needed", "").strip(), "group": data.get(f"{name}-{row}-group", "")}
            for row in rows
        ]
        # A row without a number is no stage, even with a group selected.
        return [stage for stage in typed if stage["needed"]]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        # The widget has no input of its own name, which Django looks for by default.
        return f"{name}-1-needed" not in data


class StagesField(forms.Field):
    """Validates the stages by the service's own rules, so that their errors appear at this field."""

    widget = StagesWidget

    def clean(self, value: Any) -> list[Stage]:
        try:
            return policies.checked_stages(value)
        except Refused as refusal:
            raise forms.ValidationError(refusal.message, refusal.code) from refusal
        # `int` raises ValueError for text, and for numbers of thousands of digits.
        except (ValueError, OverflowError) as error:
            raise forms.ValidationError("Enter the number of approvals as a number.", "number") from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        # Typed numbers are strings and stored ones are not, so a comparison would always differ.
        return True


class PolicyForm(SelectorForm):
    stages = StagesField(
        label="Approvals",
        required=False,
        help_text="Stages are approved from top to bottom. Blank = environment default; a stage without a number is "
        "removed. If several policies apply, the larger number of each group counts.",
    )
    token_days = forms.IntegerField(
        label="Longest token (days)",
        required=False,
        min_value=1,
        max_value=token_limits.LONGEST.days,
        widget=forms.NumberInput({**INPUT, "min": 1, "max": token_limits.LONGEST.days}),
        help_text="Tokens that can act here must end within this time. Blank = one year.",
    )
    schedule_days = forms.IntegerField(
        label="Longest schedule (days)",
        required=False,
        min_value=1,
        max_value=ends.LONGEST.days,
        widget=forms.NumberInput({**INPUT, "min": 1, "max": ends.LONGEST.days}),
        help_text="Schedules, hooks, event rules and chains here must end within this time. Blank = one year.",
    )
    sample = forms.CharField(
        label="Test value",
        required=False,
        max_length=100,
        widget=forms.TextInput({**INPUT, "placeholder": EXAMPLE}),
        help_text="A ticket to test the pattern with. It must match to save; it is not stored.",
    )

    class Meta:
        model = Policy
        fields = [
            *("name", "stages", "approval_minutes", "needs_reason", "needs_ticket", "ticket_pattern", "ticket_link"),
            *("needs_confirmation", "refuse_moving", "cancel_moved", "token_days", "schedule_days"),
            *("approve_each_run", "native_schedules", "outside_window", "risk", *SELECTOR),
        ]
        labels = {
            "approval_minutes": "Approval timeout (minutes)",
            "needs_reason": "Require a reason",
            "needs_ticket": "Require a ticket",
            "ticket_pattern": "Ticket pattern (regex)",
            "ticket_link": "Ticket URL",
            "needs_confirmation": "Require typed confirmation",
            "refuse_moving": "Refuse code that is not pinned",
            "cancel_moved": "Cancel runs whose deployment changed",
            "approve_each_run": "Approve each run of schedules",
            "native_schedules": "Schedules in Prefect",
            "outside_window": "Outside change windows",
        }
        widgets = {
            **{name: forms.TextInput(INPUT) for name in ("name", "ticket_pattern", "ticket_link")},
            "approval_minutes": forms.NumberInput({**INPUT, "min": 1}),
            "native_schedules": forms.Select(INPUT),
            "outside_window": forms.Select(INPUT),
            "risk": forms.Select(INPUT),
        }

    # The test value follows the pattern it is for.
    field_order = [
        *("name", "stages", "approval_minutes", "needs_reason", "needs_ticket", "ticket_pattern", "sample"),
        *("ticket_link", "needs_confirmation", "refuse_moving", "cancel_moved", "token_days", "schedule_days"),
        *("approve_each_run", "native_schedules", "outside_window", "risk", *SELECTOR),
    ]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        pattern, sample = values.get("ticket_pattern", ""), values.get("sample", "").strip()
        # `is False`: None means that the pattern is not supported, which the service reports at the pattern.
        if pattern and sample and formats.fits(pattern, sample) is False:
            self.add_error("sample", forms.ValidationError(f"“{sample}” does not match {pattern}.", "pattern"))
        return values


@admin.register(Policy)
class PolicyAdmin(SelectorAdmin):
    form = PolicyForm
    heading = "Add policy"
    template = "portal/policy/page.html"
    list_display = ["name", "applies_to", "requirements", "outside", "risk_shown"]
    list_filter = [EnvironmentFilter]
    list_select_related = ["environment"]
    search_fields = ["name", "flow_name", "full_name", "tag"]

    @admin.display(description="applies to")
    def applies_to(self, policy: Policy) -> str:
        return policy.selector

    @admin.display(description="requirements")
    def requirements(self, policy: Policy) -> str:
        return "; ".join(requirements(policy)) or "environment default"

    @admin.display(description="outside windows", ordering="outside_window")
    def outside(self, policy: Policy) -> str:
        return OUTSIDE[policy.outside_window]

    @admin.display(description="risk", ordering="risk")
    def risk_shown(self, policy: Policy) -> SafeString:
        return render_to_string("portal/_state.html", {"row": rule_labels.risk_badge(policy.risk)})

    def describe(self, row: Policy) -> dict[str, Any]:
        return {
            "policy": row,
            "risk": rule_labels.risk_badge(row.risk),
            "facts": facts(row),
            "requires_nothing": policies.requires_nothing(row),
        }

    def get_urls(self) -> list[URLPattern | URLResolver]:
        warn = self.admin_site.admin_view(require_safe(self.warning))
        return [path("warning/", warn, name="runs_policy_warning"), *super().get_urls()]

    def warning(self, request: HttpRequest) -> HttpResponse:
        """Answer with a warning while what is typed requires nothing."""
        if not self.has_add_permission(request):
            raise PermissionDenied("Only administrators can add policies.")
        form = self.form(request.GET)
        form.is_valid()
        # With a mistake it is not known what it requires: the form says so when it is saved.
        is_nothing = set(form.errors) <= UNNAMED and policies.requires_nothing(form.instance)
        return render(request, "portal/policy/_nothing.html", {"requires_nothing": is_nothing})

    def suggestions(self, request: HttpRequest) -> dict[str, Any]:
        watched = [name for name in PolicyForm.base_fields if name not in (*SELECTOR, "sample", "ticket_link")]
        stages = [f"stages-{row}-{part}" for row in range(1, policies.MOST_STAGES + 1) for part in ("needed", "group")]
        region = live_region("admin:runs_policy_warning", [*watched, *stages])
        return {**super().suggestions(request), "warning_region": region}

    def saved(self, request: HttpRequest, row: Policy) -> None:
        if policies.requires_nothing(row):
            messages.warning(request, f"{row} saved. It requires nothing.", extra_tags="policy.nothing")
        else:
            super().saved(request, row)

    def save_row(self, request: HttpRequest, row: Policy, confirmation: dict[str, Any]) -> ChangeRequest | None:
        return policies.save_policy(row, by=actor_of(request), **confirmation)

    def delete_row(self, request: HttpRequest, row: Policy, confirmation: dict[str, Any]) -> ChangeRequest | None:
        return policies.delete_policy(row, by=actor_of(request), **confirmation)


def requirements(policy: Policy) -> list[str]:
    """Return what a policy requires beyond the environment's own settings."""
    labels = {
        rule_labels.approvals_label(policy.stages): bool(policy.stages),
        f"approval within {policy.approval_minutes} minutes": bool(policy.approval_minutes),
        "reason": policy.needs_reason,
        "ticket": policy.needs_ticket,
        "typed confirmation": policy.needs_confirmation,
        "pinned code": policy.refuse_moving,
        "unchanged deployment at start": policy.cancel_moved,
        f"tokens of at most {plural(policy.token_days or 0, 'day')}": bool(policy.token_days),
        f"schedules of at most {plural(policy.schedule_days or 0, 'day')}": bool(policy.schedule_days),
        "approval of each run of a schedule": policy.approve_each_run,
        f"schedules in Prefect {policy.get_native_schedules_display().lower()}": bool(policy.native_schedules),
    }
    return [label for label, applies in labels.items() if applies]


def facts(policy: Policy) -> list[tuple[str, str]]:
    """Return every setting of a policy as name and value, for readers without the form."""
    link = policy.ticket_link.replace("{ticket}", EXAMPLE)
    return [
        ("Applies to", policy.selector),
        ("Approvals", rule_labels.approvals_label(policy.stages) if policy.stages else DEFAULT),
        ("Approval timeout", f"{policy.approval_minutes} minutes" if policy.approval_minutes else DEFAULT),
        ("Reason", "required" if policy.needs_reason else DEFAULT),
        ("Ticket", "required" if policy.needs_ticket else "optional"),
        ("Ticket pattern", policy.ticket_pattern or "any"),
        ("Ticket URL", link or "-"),
        ("Confirmation", "typed confirmation" if policy.needs_confirmation else DEFAULT),
        ("Code that is not pinned", "refused" if policy.refuse_moving else "shown to approvers"),
        ("Deployment changed when the run starts", "run is cancelled" if policy.cancel_moved else "reported"),
        ("Longest token", plural(policy.token_days, "day") if policy.token_days else "1 year"),
        ("Longest schedule", plural(policy.schedule_days, "day") if policy.schedule_days else "1 year"),
        ("Runs of schedules", "approved one by one" if policy.approve_each_run else "approved with the schedule"),
        ("Schedules in Prefect", policy.get_native_schedules_display().lower()),
        ("Outside change windows", OUTSIDE[policy.outside_window]),
    ]
