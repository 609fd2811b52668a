"""The form of a schedule: when its runs start, and how they are requested."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django import forms
from django.utils import timezone

from flows.wording import plural
from portal.admin.moment_field import MomentField
from portal.admin.run_form.forms import INPUT, NOW, RunOptionsForm
from portal.ui.live_input import LiveInput
from runs.automation import ends, schedule_checks, schedule_listings
from runs.automation.schedule_times import LONGEST_TEXT
from runs.errors import Refused
from runs.governance.requirements import Requirements
from runs.models import Schedule

RULE_HELP = (
    "Cron: 0 6 * * 1-5. Interval: 15m, 6h or 7d. Recurrence rule: FREQ=MONTHLY;BYDAY=1MO;BYHOUR=6. "
    "In the time zone below."
)
# Code of a refusal -> the field that it is about; the others are about the rule.
FIELDS = {"schedule.time_zone": "time_zone", "schedule.rule_type": "rule_type"}


class ScheduleOptionsForm(RunOptionsForm):
    """The options of a run that a schedule has too, and its own."""

    name = forms.CharField(max_length=schedule_checks.MAX_NAME_LENGTH, widget=forms.TextInput(attrs=INPUT))
    rule_type = forms.ChoiceField(
        label="Type", choices=Schedule.RuleType.choices, initial="cron", widget=forms.RadioSelect
    )
    rule = forms.CharField(
        max_length=LONGEST_TEXT,
        widget=LiveInput(
            {**INPUT, "autocomplete": "off", "spellcheck": "false"},
            address="admin:runs_schedule_reading",
            watched=["rule_type", "rule", "time_zone", "anchor"],
        ),
        help_text=RULE_HELP,
    )
    time_zone = forms.CharField(
        max_length=60, widget=forms.TextInput({**INPUT, "list": "time-zones"}), help_text="Such as Europe/Vienna."
    )
    anchor = MomentField(
        label="An interval counts from",
        attrs=INPUT,
        help_text="Blank: midnight of 1 January 2020 in the time zone above.",
    )
    valid_until = MomentField(label="Ends", attrs=INPUT)
    catch_up = forms.ChoiceField(
        label="Starts that were missed",
        choices=Schedule.CatchUp.choices,
        initial="none",
        widget=forms.RadioSelect,
        help_text="Because the portal was down when they were due.",
    )

    is_native = forms.BooleanField(
        label="Kept by Prefect",
        required=False,
        widget=forms.CheckboxInput,
        help_text="Prefect starts its runs itself, also while the portal is down. Nothing is checked at each start.",
    )

    def __init__(
        self,
        rules: Requirements,
        data: Any = None,
        initial: Any = None,
        *,
        profiles: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(rules, [NOW], data, initial, offers_override=False, profiles=profiles)
        for name in ("start", "scheduled_for", "retries"):
            self.fields.pop(name, None)
        if not rules.native_schedules or rules.approve_each_run:
            del self.fields["is_native"]
        self.fields["valid_until"].required = True
        days = ends.longest(rules).days
        self.fields["valid_until"].help_text = f"At most {plural(days, 'day')} from now. Renew it before."

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if self.errors.keys() & {"rule_type", "rule", "time_zone", "anchor"}:
            return values
        if values.get("rule_type") != Schedule.RuleType.INTERVAL:
            values["anchor"] = None
        for refusal in rule_problems(values["rule_type"], values["rule"], values["time_zone"], values["anchor"]):
            field = FIELDS.get(refusal.code, "rule")
            self.add_error(field, forms.ValidationError(refusal.message, refusal.code))
        if values.get("valid_until"):
            try:
                schedule_checks.require_end(values["valid_until"], timezone.now(), self.rules)
            except Refused as refusal:
                self.add_error("valid_until", forms.ValidationError(refusal.message, refusal.code))
        return values

    @property
    def choices(self) -> dict[str, Any]:
        """What was chosen, as a draft holds it; only for a valid form."""
        found = {name: value for name, value in self.cleaned_data.items() if name in self.fields}
        behalf = found["on_behalf_of"]
        return {**found, "on_behalf_of": behalf.pk if behalf else None}


def rule_problems(rule_type: str, rule: str, time_zone: str, anchor: datetime | None) -> list[Refused]:
    """Return what is wrong with a rule and with its time zone, both at once."""
    found: list[Refused] = []
    # The service reports one problem at a time, the time zone first: the rule is then read in another.
    for zone in dict.fromkeys((time_zone, "UTC")):
        try:
            schedule_listings.preview(rule_type, rule, zone, anchor=anchor, number=1)
        except Refused as refusal:
            found.append(refusal)
        if not found or found[0].code != "schedule.time_zone":
            break
    return found
